"""Conversations: list, load and remove the records that conversations left on a platform."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from convai_lab import background
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.wire_format import conversation_from_wire, conversation_to_wire
from convai_lab.errors import InvalidValueError, NotFoundError, NotSupportedError, PlatformError
from convai_lab.workspace.agents import AgentRef
from convai_lab.workspace.feed import Feed, batches
from convai_lab.workspace.listing import LazyList, ListPage, background_twin
from convai_lab.workspace.names import agent_id_of, next_cursor, path_part
from convai_lab.workspace.recordings import ConversationAudio, fetch_audio, remember
from convai_lab.workspace.since import Instant, unix_secs
from convai_lab.workspace.summaries import CONVERSATION_HEADERS, ConversationSummary, summary_from
from convai_lab.workspace.transport import Transport

ROUTE = "/v1/convai/conversations"
AT_ONCE = 6
"""How many conversations are asked for at the same time where there is no bulk route."""
UNDER_WAY = frozenset({"initiated", "in-progress"})
SOURCES = ("live", "simulated", "replay", "import", "all")

Summaries = list[ConversationSummary]

ConversationRef = Conversation | ConversationSummary | str
"""What names a conversation: itself, a row of a list, or its id."""


@dataclass(frozen=True)
class Filters:
    """Which conversations are meant."""

    agent_id: str | None = None
    since: float | None = None
    until: float | None = None
    source: str = "live"
    limit: int | None = None
    status: str | None = None
    search: str | None = None


class Conversations:
    """The conversations of a platform. Every call blocks; the one with an ``a`` before it is awaited."""

    def __init__(self, transport: Transport) -> None:
        self._transport = self.transport = transport
        remember(transport)

    def list(
        self,
        *,
        agent: AgentRef | None = None,
        since: Instant | None = None,
        until: Instant | None = None,
        limit: int | None = None,
        source: str = "live",
        status: str | None = None,
        search: str | None = None,
    ) -> LazyList[ConversationSummary]:
        """List conversations, newest first, as summaries that load the whole when more is asked of them.

        `since` and `until` take ``"7d"``, ``"12h"``, a date, a datetime or seconds since 1970.
        """
        filters = _checked(self._now(), since=since, until=until, limit=limit, source=source, status=status)
        pages = _Pages(self, agent, filters, search)
        return LazyList(pages.fetch, headers=CONVERSATION_HEADERS, noun="conversations", limit=limit)

    async def alist(self, **filters: Any) -> Summaries:
        """Do what `list` does, awaited, all pages."""
        return await self.list(**filters).all()

    def get(self, conversation: ConversationRef) -> Conversation:
        """Return a whole conversation."""
        return background.run(self.fetch(conversation_id_of(conversation)))

    async def aget(self, conversation: ConversationRef) -> Conversation:
        """Do what `get` does, awaited."""
        return await background_twin(self.fetch(conversation_id_of(conversation)))

    def audio(self, conversation: ConversationRef) -> ConversationAudio:
        """Return the sound of a conversation: play it, `save` it, or take one `turn`."""
        return background.run(self._audio(conversation))

    async def aaudio(self, conversation: ConversationRef) -> ConversationAudio:
        """Do what `audio` does, awaited."""
        return await background_twin(self._audio(conversation))

    def delete(self, conversation: ConversationRef) -> None:
        """Remove a conversation for good."""
        background.run(self._delete(conversation_id_of(conversation)))

    async def adelete(self, conversation: ConversationRef) -> None:
        """Do what `delete` does, awaited."""
        await background_twin(self._delete(conversation_id_of(conversation)))

    def keep(self, conversations: Iterable[Conversation]) -> int:
        """Store conversations that were held elsewhere (simulated, replayed, imported); return how many are new.

        `list` and `documents` leave them out unless they are asked for their `source`.

        Raises:
            NotSupportedError: The platform is not ours.
        """
        return background.run(self._keep(conversations))

    async def akeep(self, conversations: Iterable[Conversation]) -> int:
        """Do what `keep` does, awaited."""
        return await background_twin(self._keep(conversations))

    def documents(
        self,
        *,
        agent: AgentRef | None = None,
        since: Instant | None = None,
        until: Instant | None = None,
        limit: int | None = None,
        source: str = "live",
    ) -> Iterator[Conversation]:
        """Go through whole conversations, newest first: one request locally, a bounded number at once elsewhere."""
        filters = _checked(self._now(), since=since, until=until, limit=limit, source=source)
        feed = Feed(lambda: self._each(agent, filters))
        try:
            while batch := background.run(feed.batch()):
                yield from batch
        finally:
            background.run(feed.close())

    async def adocuments(self, **filters: Any) -> AsyncIterator[Conversation]:
        """Do what `documents` does, awaited."""
        agent = filters.pop("agent", None)
        checked = _checked(self._now(), **filters)
        feed = Feed(lambda: self._each(agent, checked))
        try:
            while batch := await background_twin(feed.batch()):
                for conversation in batch:
                    yield conversation
        finally:
            await background_twin(feed.close())

    async def fetch(self, conversation_id: str) -> Conversation:
        """Return a whole conversation, on the background loop."""
        path = f"{ROUTE}/{path_part(conversation_id, field='conversation')}"
        try:
            return self._as_conversation(await self._transport.document("GET", path))
        except NotFoundError as error:
            raise NotFoundError(
                f"there is no conversation {conversation_id} on {self._transport.who}", status=404, body=error.body
            ) from None

    async def fetch_ended(self, conversation_id: str, *, limit_secs: float = 10.0) -> Conversation:
        """Return a conversation once its platform has finished writing it, or as it stands when time is up."""
        pause, clock = 0.02, self._transport.clock
        until = clock.now() + limit_secs
        while True:
            try:
                found = await self.fetch(conversation_id)
                if found.status not in UNDER_WAY or clock.now() >= until:
                    return found
            except NotFoundError:
                if clock.now() >= until:
                    raise
            await clock.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def fetch_page(
        self, filters: Filters, cursor: str | None, size: int, load: Any
    ) -> ListPage[ConversationSummary]:
        """Fetch one page of summaries, on the background loop."""
        answer = await self._transport.document("GET", ROUTE, params=await self._query(filters, cursor, size))
        listed = answer.get("conversations")
        rows = [summary_from(item, load) for item in listed] if isinstance(listed, list) else []
        return ListPage([row for row in rows if row is not None], next_cursor(answer))

    async def fetch_between(self, filters: Filters) -> dict[str, Conversation]:
        """Return whole conversations by id, for a window of time, where there is a bulk route; else nothing."""
        if not await self._transport.is_ours():
            return {}
        return {found.id: found async for found in self._bulk(filters)}

    async def resolved(self, agent: AgentRef | None, filters: Filters) -> Filters:
        """Return the filters with the agent's id."""
        if agent is None:
            return filters
        agent_id = await agent_id_of(self._transport, agent)
        return Filters(**{**vars(filters), "agent_id": agent_id})

    async def _keep(self, conversations: Iterable[Conversation]) -> int:
        if not await self._transport.is_ours():
            raise NotSupportedError(f"{self._transport.who} keeps only conversations that were held there")
        stored = 0
        for batch in batches(conversation_to_wire(conversation) for conversation in conversations):
            answer = await self._transport.document("POST", "/v1/local/conversations", json={"conversations": batch})
            stored += int(answer.get("stored") or 0)
        return stored

    async def _audio(self, given: ConversationRef) -> ConversationAudio:
        found = given if isinstance(given, Conversation) else await self.fetch(conversation_id_of(given))
        return await fetch_audio(self._transport, found)

    async def _delete(self, conversation_id: str) -> None:
        await self._transport.request("DELETE", f"{ROUTE}/{path_part(conversation_id, field='conversation')}")

    async def _each(self, agent: AgentRef | None, filters: Filters) -> AsyncIterator[Conversation]:
        filters = await self.resolved(agent, filters)
        whole = self._bulk if await self._transport.is_ours() else self._one_by_one
        async for conversation in whole(filters):
            yield conversation

    async def _bulk(self, filters: Filters) -> AsyncIterator[Conversation]:
        params = {
            "agent_id": filters.agent_id,
            "since_unix": filters.since,
            "until_unix": filters.until,
            "source": filters.source,
            "limit": filters.limit,
        }
        async for line in self._transport.lines("/v1/local/conversations.ndjson", params=params):
            try:
                doc = json.loads(line)
            except (ValueError, RecursionError):
                doc = None
            if not isinstance(doc, dict):
                raise PlatformError(f"{self._transport.who} sent a conversation that is not JSON; it may have died")
            yield self._as_conversation(doc)

    async def _one_by_one(self, filters: Filters) -> AsyncIterator[Conversation]:
        async def fetch(cursor: str | None, size: int) -> ListPage[ConversationSummary]:
            return await self.fetch_page(filters, cursor, size, None)

        rows = await LazyList(
            fetch, headers=CONVERSATION_HEADERS, noun="conversations", limit=filters.limit
        ).fetch_all()
        for at in range(0, len(rows), AT_ONCE):
            for conversation in await asyncio.gather(*(self._if_there(row.id) for row in rows[at : at + AT_ONCE])):
                if conversation is not None:
                    yield conversation

    async def _if_there(self, conversation_id: str) -> Conversation | None:
        try:
            return await self.fetch(conversation_id)
        except NotFoundError:
            return None  # deleted since it was listed

    async def _query(self, filters: Filters, cursor: str | None, size: int) -> dict[str, Any]:
        is_ours = await self._transport.is_ours()
        if filters.source not in ("live", "all") and not is_ours:
            raise NotSupportedError(f"{self._transport.who} has no conversations of source {filters.source}: use live")
        return {
            "page_size": max(1, size),
            "cursor": cursor,
            "agent_id": filters.agent_id,
            "call_start_after_unix": None if filters.since is None else int(filters.since),
            "call_start_before_unix": None if filters.until is None else int(filters.until),
            "search": filters.search,
            "status": filters.status if is_ours else None,
            "source": filters.source if is_ours and filters.source != "live" else None,
        }

    def _as_conversation(self, doc: dict[str, Any]) -> Conversation:
        return conversation_from_wire(doc, platform=self._transport.platform.name)

    def _now(self) -> float:
        return self._transport.clock.wall()


class _Pages:
    """The pages of one list; a summary that is asked for more loads the whole page at once where that is possible."""

    def __init__(
        self, conversations: Conversations, agent: AgentRef | None, filters: Filters, search: str | None
    ) -> None:
        self._conversations, self._agent = conversations, agent
        self._filters = Filters(**{**vars(filters), "search": search})
        self._is_resolved = False

    async def fetch(self, cursor: str | None, size: int) -> ListPage[ConversationSummary]:
        if not self._is_resolved:
            self._filters = await self._conversations.resolved(self._agent, self._filters)
            self._is_resolved = True
        page = _PageOfRows(self._conversations, self._filters)
        found = await self._conversations.fetch_page(self._filters, cursor, size, page.load)
        page.rows = found.rows
        return found


class _PageOfRows:
    def __init__(self, conversations: Conversations, filters: Filters) -> None:
        self.rows: Sequence[ConversationSummary] = ()
        self._conversations, self._filters = conversations, filters
        self._loaded: dict[str, Conversation] | None = None

    def load(self, conversation_id: str) -> Conversation:
        """Return a conversation of this page; the first one asked for brings the others along."""
        return background.run(self._load(conversation_id))

    async def _load(self, conversation_id: str) -> Conversation:
        if self._loaded is None:
            self._loaded = await self._all_of_page()
        return self._loaded.pop(conversation_id, None) or await self._conversations.fetch(conversation_id)

    async def _all_of_page(self) -> dict[str, Conversation]:
        started = [row.started_at for row in self.rows if row.started_at is not None]
        if len(self.rows) < 2 or len(started) < len(self.rows):
            return {}
        window = {"since": int(min(started)), "until": int(max(started)) + 1, "limit": None}
        return await self._conversations.fetch_between(Filters(**{**vars(self._filters), **window}))


def conversation_id_of(given: object) -> str:
    """Return the id of the conversation that is meant."""
    if isinstance(given, Conversation | ConversationSummary):
        return given.id
    if isinstance(given, str) and given.strip():
        return given.strip()
    raise InvalidValueError("name a conversation by its id, or give the Conversation itself", field="conversation")


def _checked(
    now: float,
    *,
    since: Instant | None = None,
    until: Instant | None = None,
    limit: int | None = None,
    source: str = "live",
    status: str | None = None,
) -> Filters:
    if source not in SOURCES:
        raise InvalidValueError(f"must be one of {', '.join(SOURCES)}, got {str(source)[:40]!r}", field="source")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise InvalidValueError(f"must be a whole number, not {str(limit)[:40]!r}", field="limit")
    return Filters(
        since=unix_secs(since, now=now),
        until=unix_secs(until, now=now, field="until"),
        limit=limit,
        source=source,
        status=status,
    )
