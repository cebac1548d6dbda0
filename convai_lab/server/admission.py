"""Admission: who wants which conversation, and may they have it?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, QueryParams

from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import ConvaiLabError, NotFoundError
from convai_lab.server.access import policy_of
from convai_lab.server.answers import Refusal
from convai_lab.server.auth import Signed
from convai_lab.server.context import Platform, busy
from convai_lab.server.socket_events import REFUSED, Problem, problem_of

CONVERSATION_PREFIX = "conv_"
PARAMETER_CHARS = 200
OPEN_STATUSES = ("initiated", "in-progress", "processing")

_SOURCE = re.compile(r"[a-z0-9_]{1,40}")


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A conversation that may begin: with which agent, under which id, and going on with which one before.

    `says_wishes` tells a client that always sends its initiation data first: it names itself, or the socket is private.
    """

    agent: Mapping[str, Any]
    conversation_id: str
    resumed: Conversation | None = None
    authorization: str = "public"
    source: str = "unknown"
    source_version: str | None = None
    says_wishes: bool = False


def find_agent(platform: Platform, query: QueryParams) -> dict[str, Any]:
    """Return the agent that a conversation socket names, by its id or by the conversation it goes on with.

    Raises:
        NotFoundError: There is no such agent or conversation.
    """
    agent_id = _parameter(query, "agent_id")
    if resumed_id := _parameter(query, "continue"):
        found = platform.conversations.get(resumed_id).agent_id
        if agent_id and agent_id != found:
            raise NotFoundError(f"conversation {resumed_id} is not one of agent {agent_id}", status=404)
        agent_id = found
    if not agent_id:
        raise NotFoundError("the query parameter agent_id is missing", status=404)
    return platform.agents.get(agent_id, version_id=_parameter(query, "version_id") or None)


def check_page(platform: Platform, headers: Headers, query: QueryParams) -> None:
    """Refuse pages of other origins before the socket is opened, unless the agent's allowlist names them."""
    try:
        platform.door.check_origin(headers)
    except Refusal:
        if not headers.get("origin"):
            raise
        platform.rates.visit()
        try:
            policy = policy_of(find_agent(platform, query))
        except ConvaiLabError:
            policy = None
        platform.door.check_origin(headers, policy)


def admit(platform: Platform, headers: Headers, query: QueryParams) -> Admitted:
    """Check key, signature or the agent's openness, and say which conversation begins.

    Raises:
        Problem: It may not begin; the close code is 1008.
    """
    try:
        return _admitted(platform, headers, query)
    except Refusal as refusal:
        raise Problem(REFUSED, refusal.word, refusal.message) from None
    except NotFoundError as error:
        kind = "conversation_not_found" if query.get("continue") else "agent_not_found"
        raise Problem(REFUSED, kind, str(error)) from None
    except ConvaiLabError as error:
        raise problem_of(error) from None


def admit_owner(platform: Platform, query: QueryParams) -> Admitted:
    """Say which conversation begins on a private session socket, whose client has shown the API key.

    Raises:
        Problem: There is no such agent; the close code is 1008.
    """
    try:
        agent = _with_private_formats(find_agent(platform, query))
        resumed = _resumed(platform, query, has_key=True)
    except Refusal as refusal:
        raise Problem(REFUSED, refusal.word, refusal.message) from None
    except NotFoundError as error:
        raise Problem(REFUSED, "agent_not_found", str(error)) from None
    except ConvaiLabError as error:
        raise problem_of(error) from None
    return Admitted(
        agent=agent,
        conversation_id=_conversation_id(platform, query, None),
        resumed=resumed,
        authorization="authorization_header",
        source=source if _SOURCE.fullmatch(source := _parameter(query, "source")) else "unknown",
        source_version=_parameter(query, "version") or None,
        says_wishes=True,
    )


def _with_private_formats(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return an agent's document with the sound formats of a private session: PCM, and 16 kHz from the user."""
    config = dict(document.get("conversation_config") or {})
    asr, tts = dict(config.get("asr") or {}), dict(config.get("tts") or {})
    asr["user_input_audio_format"] = "pcm_16000"
    if not str(tts.get("agent_output_audio_format") or "").startswith("pcm_"):
        tts["agent_output_audio_format"] = "pcm_16000"
    return {**document, "conversation_config": {**config, "asr": asr, "tts": tts}}


def _admitted(platform: Platform, headers: Headers, query: QueryParams) -> Admitted:
    door = platform.door
    has_key = door.has_key(headers)
    if not has_key:
        platform.rates.visit()
    agent: Mapping[str, Any] = find_agent(platform, query)
    signed = None
    if signature := query.get("conversation_signature"):
        signed = door.check_signature(agent["agent_id"], signature, now=platform.clock.wall())
        agent = _signed_version(platform, agent, signed, query)
    elif not has_key:
        _check_visitor(platform, headers, agent)
    return Admitted(
        agent=agent,
        conversation_id=_conversation_id(platform, query, signed),
        resumed=_resumed(platform, query, has_key=has_key),
        authorization="signed_url" if signed else "authorization_header" if has_key else "public",
        source=source if _SOURCE.fullmatch(source := _parameter(query, "source")) else "unknown",
        source_version=_parameter(query, "version") or None,
        says_wishes=bool(_parameter(query, "source")),
    )


def _check_visitor(platform: Platform, headers: Headers, agent: Mapping[str, Any]) -> None:
    try:
        platform.door.check_visitor(headers, policy_of(agent))
    except Refusal as refusal:
        if refusal.word == "invalid_api_key":
            platform.rates.wrong_key()
        raise


def _signed_version(
    platform: Platform, agent: Mapping[str, Any], signed: Signed, query: QueryParams
) -> Mapping[str, Any]:
    """A signed URL names the version too: another one than it allows is not to be had by changing the query."""
    asked = _parameter(query, "version_id")
    if asked and asked != signed.version_id:
        raise Refusal(401, "invalid_signature", "the signed URL is for another version of the agent")
    return platform.agents.get(agent["agent_id"], version_id=signed.version_id) if signed.version_id else agent


def _conversation_id(platform: Platform, query: QueryParams, signed: Signed | None) -> str:
    if resumed_id := _parameter(query, "continue"):
        return resumed_id
    if signed is None or not signed.conversation_id:
        return platform.clock.new_id(CONVERSATION_PREFIX)
    if _exists(platform, signed.conversation_id):
        raise Refusal(409, "signature_used", "this signed URL is for one conversation, which has begun already")
    return signed.conversation_id


def _exists(platform: Platform, conversation_id: str) -> bool:
    try:
        platform.conversations.get(conversation_id)
    except NotFoundError:
        return conversation_id in platform.live
    return True


def _resumed(platform: Platform, query: QueryParams, *, has_key: bool) -> Conversation | None:
    resumed_id = _parameter(query, "continue")
    if not resumed_id:
        return None
    if not has_key:
        raise Refusal(401, "needs_authorization", "only the platform's API key may continue a conversation")
    resumed = platform.conversations.get(resumed_id)
    if resumed.status in OPEN_STATUSES:
        raise busy(resumed_id)
    return resumed


def _parameter(query: QueryParams, name: str) -> str:
    return (query.get(name) or "")[:PARAMETER_CHARS]
