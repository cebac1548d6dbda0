"""Replay: what would the other model have said?

The conversation up to a user's turn is given; another model, or a changed agent, answers that turn, and goes on with
what the user said then, if asked. Tools do nothing: their recorded results are used, unless they may run.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from convai_lab import background
from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool, registered_tool, run_tool
from convai_lab.clock import Clock, SystemClock, VirtualClock
from convai_lab.conversations.conversation import Analysis, Conversation
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn
from convai_lab.dialogue.conversation_loop import ConversationLoop
from convai_lab.dialogue.fault import ToolFault
from convai_lab.dialogue.tool_runner import ToolRunner
from convai_lab.errors import InvalidValueError, ToolNotAvailableError
from convai_lab.experiments.world import in_own_world
from convai_lab.providers.base import LLM
from convai_lab.providers.cassette import Cassette, as_cassette, cassette_in_use, in_use

if TYPE_CHECKING:
    from convai_lab.workspace.workspace import Workspace

REPLAY = "replay"
"""Marks every turn that was made in a replay, and in a result's `extra` one that was recorded."""
DEFAULT_LLM_SECS = 60.0


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """What is to be replayed: checked, with the index of the user's turn that is answered."""

    conversation: Conversation
    turn: int
    agent: Agent
    llm: LLM | None
    go_on: bool
    run_tools: bool
    variables: Mapping[str, Any]


def replay(
    conversation: Conversation,
    from_turn: int | None = None,
    *,
    llm: str | LLM | None = None,
    agent: Agent | None = None,
    go_on: bool = False,
    run_tools: bool = False,
    variables: Mapping[str, Any] | None = None,
    cassette: Cassette | str | None = None,
    workspace: Workspace | None = None,
) -> Conversation:
    """Let another model answer a turn of a recorded conversation, and return what came of it.

    The result is a new conversation with `parent_id` set and source ``replay``; what was made anew is marked
    ``replay``. Nothing is stored, and the given conversation is left as it is.

    Args:
        conversation: What was said.
        from_turn: The user's turn that is answered anew, counted from 0 as in ``conversation[i]``; of an agent's
            turn, the user's turn before it. The last one, when None.
        llm: The model that answers, by its name or itself; the agent's, when None.
        agent: The agent that answers; the one of the conversation in its version of then, when None.
        go_on: Then say what the user said afterwards, turn by turn, and let the model answer all of it.
        run_tools: Run a tool whose call was not recorded. Otherwise the model is told that it cannot be.
        variables: Values of dynamic variables that the record does not hold, such as secret ones.
        cassette: ``path[:mode]`` to record or replay the model's answers.
        workspace: Where the agent is; the local platform, when None.

    Raises:
        InvalidValueError: There is no such turn, or nothing the user said before it.
        ProviderError: The model failed; `partial_conversation(error)` is what was answered before.
    """
    return background.run(
        _replayed(
            conversation,
            from_turn,
            llm=llm,
            agent=agent,
            go_on=go_on,
            run_tools=run_tools,
            variables=variables,
            cassette=cassette,
            workspace=workspace,
        )
    )


async def areplay(conversation: Conversation, from_turn: int | None = None, **options: Any) -> Conversation:
    """Do what `replay` does, awaited."""
    from convai_lab.workspace.listing import background_twin

    names = ("llm", "agent", "go_on", "run_tools", "variables", "cassette", "workspace")
    if unknown := sorted(set(options) - set(names)):
        raise InvalidValueError(f"is no option of a replay ({', '.join(names)})", field=unknown[0])
    return await background_twin(_replayed(conversation, from_turn, **options))


class ReplayedTools(ToolRunner):
    """Runs no tool that has a recorded result for the same arguments; of several, they are used in order."""

    def __init__(self, agent: Agent, turns: Sequence[Turn], *, clock: Clock, run_tools: bool) -> None:
        super().__init__(agent, client_tool=self._run_function, clock=clock)
        self._recorded, self._run_tools = results_of(turns), run_tools

    def for_agent(self, agent: Agent) -> ReplayedTools:
        """Return a runner for another agent with the same recorded results."""
        other = ReplayedTools(agent, (), clock=self._clock, run_tools=self._run_tools)
        other._recorded, other._unawaited = self._recorded, self._unawaited
        return other

    async def _taped(self, call: ToolCall, run: Callable[[], Awaitable[ToolResult]]) -> ToolResult:
        if found := self._recorded.get(_mark(call)):
            result = found.pop(0) if len(found) > 1 else found[0]
            return replace(result, call_id=call.id, kind=call.kind, extra={**result.extra, REPLAY: True})
        if self._run_tools:
            return await super()._taped(call, run)
        raise ToolFault(
            f"{call.name} was not called like this when the conversation was recorded, and a replay runs no tools",
            "tool_not_available",
        )

    async def _run_function(self, call: ToolCall, _timeout_secs: float) -> ToolResult:
        own = next((t for t in self.agent.tools if isinstance(t, ClientTool) and t.name == call.name), None)
        tool = own if own is not None and own.function is not None else registered_tool(call.name)
        if tool is None or not self._run_tools:
            raise ToolNotAvailableError("a replay runs no tools (run_tools=True lets it)", tool=call.name)
        value = await self._clock.outside(lambda: asyncio.to_thread(run_tool, tool, dict(call.arguments)))
        return ToolResult(call_id=call.id, name=call.name, value=value, kind=call.kind)


def results_of(turns: Sequence[Turn]) -> dict[str, list[ToolResult]]:
    """Return the results that turns hold, by tool and arguments, in order."""
    found: dict[str, list[ToolResult]] = {}
    for turn in turns:
        results = {result.call_id: result for result in turn.tool_results}
        for call in turn.tool_calls:
            if call.id in results:
                found.setdefault(_mark(call), []).append(results[call.id])
    return found


async def _replayed(
    conversation: Conversation,
    from_turn: int | None,
    *,
    llm: str | LLM | None = None,
    agent: Agent | None = None,
    go_on: bool = False,
    run_tools: bool = False,
    variables: Mapping[str, Any] | None = None,
    cassette: Cassette | str | None = None,
    workspace: Workspace | None = None,
) -> Conversation:
    turn = answered_turn(conversation, from_turn)
    speaker = agent if agent is not None else await _agent_of(conversation, workspace)
    if not isinstance(speaker, Agent):
        raise InvalidValueError(f"must be an Agent, got {type(speaker).__name__}", field="agent")
    if isinstance(llm, str):
        speaker, llm = speaker.with_changes(llm=llm), None
    wish = _Wish(
        conversation=conversation,
        turn=turn,
        agent=speaker,
        llm=llm,
        go_on=go_on,
        run_tools=run_tools,
        variables=variables or {},
    )
    tape = await asyncio.to_thread(as_cassette, cassette)
    with in_use(tape if tape is not None else cassette_in_use()):
        return await _held(wish)


async def _held(wish: _Wish) -> Conversation:
    """Hold it in real time; where the answers are recorded, in virtual time, which they let pass as it was."""
    cassette = cassette_in_use()
    if cassette is None or cassette.mode != "replay" or wish.llm is not None:
        return await _answered(wish, SystemClock())
    clock = VirtualClock(seed=wish.conversation.seed or 0)
    return await in_own_world(clock, lambda: _answered(wish, clock))


async def _answered(wish: _Wish, clock: Clock) -> Conversation:
    given, cassette = wish.conversation, cassette_in_use()
    loop = ConversationLoop(
        agent=wish.agent if wish.turn else wish.agent.with_changes(first_message=""),
        conversation=_beginning(wish, clock, cassette),
        llm=_llm_of(wish, clock, cassette),
        tools=ReplayedTools(
            wish.agent, [*given.turns[wish.turn :], *given.turns[: wish.turn]], clock=clock, run_tools=wish.run_tools
        ),
        clock=clock,
        llm_timeout_secs=DEFAULT_LLM_SECS,
    )
    said = [turn for turn in given.turns[wish.turn :] if turn.role == "user"]
    try:
        await loop.open()
        for turn in said if wish.go_on else said[:1]:
            loop.user_said(turn.text, extra=turn.extra)
            async with aclosing(loop.reply()) as events:
                async for _ in events:
                    pass
            if loop.ended:
                break
    except BaseException as error:
        error.conversation = _marked(await loop.end("failed", by="system", failed=True), wish.turn)  # type: ignore[attr-defined]
        raise
    return _marked(await loop.end(REPLAY, by="system"), wish.turn)


def _llm_of(wish: _Wish, clock: Clock, cassette: Cassette | None) -> LLM:
    from convai_lab.providers.registry import find_llm

    if wish.llm is not None:
        return wish.llm if cassette is None else cassette.llm(wish.llm)
    return find_llm(wish.agent.llm or "offline", custom=wish.agent.custom_llm, clock=clock)


def _beginning(wish: _Wish, clock: Clock, cassette: Cassette | None) -> Conversation:
    """Return the conversation as it was before the turn that is answered."""
    given = wish.conversation
    return given.with_changes(
        id=clock.new_id("conv_"),
        agent_id=wish.agent.id or given.agent_id,
        agent_name=wish.agent.name or given.agent_name,
        last_version=wish.agent.version,
        platform="local",
        channel="text",
        source=REPLAY,
        status="initiated",
        end_reason=None,
        ended_by=None,
        duration_secs=None,
        turns=given.turns[: wish.turn],
        variables={**given.variables, **wish.variables},
        has_audio=False,
        parent_id=given.id,
        cassette=None if cassette is None else cassette.name,
        analysis=Analysis(),
    )


def _marked(conversation: Conversation, start: int) -> Conversation:
    """Mark what was made in the replay."""
    turns = conversation.turns
    fresh = [turn.with_changes(marks=tuple(dict.fromkeys((*turn.marks, REPLAY)))) for turn in turns[start:]]
    return conversation.with_changes(turns=(*turns[:start], *fresh))


def answered_turn(conversation: Conversation, from_turn: int | None) -> int:
    """Return the index of the user's turn that is to be answered.

    Raises:
        InvalidValueError: There is none.
    """
    if not isinstance(conversation, Conversation):
        raise InvalidValueError(f"must be a Conversation, got {type(conversation).__name__}", field="conversation")
    turns = conversation.turns
    if from_turn is None:
        from_turn = len(turns) - 1
    elif isinstance(from_turn, bool) or not isinstance(from_turn, int) or not 0 <= from_turn < len(turns):
        raise InvalidValueError(
            f"there is no turn {from_turn!r} to replay: this conversation has {len(turns)}, counted from 0",
            field="from_turn",
        )
    found = next((i for i in range(from_turn, -1, -1) if turns[i].role == "user"), None)
    if found is None:
        raise InvalidValueError("the user has said nothing up to that turn; name a later one", field="from_turn")
    return found


async def _agent_of(conversation: Conversation, workspace: Workspace | None) -> Agent:
    """Return the agent as it was when it spoke."""
    from convai_lab.workspace.connect import connect

    version_id = conversation.extra.get("version_id")
    named = version_id if isinstance(version_id, str) and version_id else None
    return await (workspace or connect()).agents.fetch(conversation.agent_id, version_id=named)


def _mark(call: ToolCall) -> str:
    return json.dumps([call.name, dict(call.arguments)], sort_keys=True, default=str)
