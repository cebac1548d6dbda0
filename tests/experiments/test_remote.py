"""Agents of another platform: compared over their own conversations."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.clock import VirtualClock
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.errors import ConversationClosedError, NotSupportedError, RateLimitError, ToolError
from convai_lab.experiments.plan import PlannedTrial, plan_trials
from convai_lab.experiments.remote import WorkspaceHolder, check_remote
from convai_lab.experiments.variant import Variant
from convai_lab.simulation.runner import SimulatedConversation
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_user import ScriptedUser

AGENT = Agent(name="Cloud", id="agent_1", llm="gpt-4o", first_message="Hi {{name}}")
CLOUD = Variant("cloud", AGENT, platform="elevenlabs")


class Session:
    """A conversation on a platform that answers from a list."""

    def __init__(self, replies: list[Any]) -> None:
        self.replies, self.said = replies, list[str]()
        self.is_open = self.is_left_open = True

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.is_left_open = False

    async def asay(self, text: str) -> str:
        self.said.append(text)
        reply = self.replies.pop(0)
        if isinstance(reply, BaseException):
            raise reply
        self.is_open = reply != "Goodbye."
        return str(reply)

    async def aend(self) -> Conversation:
        turns = tuple(Turn(role="user", text=text) for text in self.said)
        return Conversation(id="conv_of_the_platform", agent_id="agent_1", platform="elevenlabs", turns=turns)


class Workspace:
    """A platform that is busy for some time, and then opens one session."""

    platform = "elevenlabs"

    def __init__(self, replies: list[Any], *, busy: int = 0) -> None:
        self.session, self.busy, self.variables = Session(replies), busy, dict[str, Any]()

    async def astart_session(self, agent: Agent, *, variables: dict[str, Any]) -> Session:
        self.busy -= 1
        if self.busy >= 0:
            raise RateLimitError("too many conversations at once", retry_after=2.0)
        self.variables = variables
        return self.session


def hold(workspace: Any, *, lines: list[str], max_turns: int = 8) -> tuple[SimulatedConversation, VirtualClock]:
    clock = VirtualClock()
    scenario = Scenario(id="s", opening=lines[0], max_turns=max_turns, variables={"name": "Ada"})
    planned: PlannedTrial = plan_trials([CLOUD], [scenario], trials=1, seed=0, conditions={})[0]
    holder = WorkspaceHolder(workspace, clock=clock)
    return clock.run(holder.hold(planned, ScriptedUser(lines))), clock


def test_the_caller_types_into_the_platforms_conversation() -> None:
    workspace = Workspace(["Yes.", "No."])
    held, _ = hold(workspace, lines=["One?", "Two?"])
    assert workspace.session.said == ["One?", "Two?"]
    assert workspace.variables == {"name": "Ada"}
    assert held.conversation.id == "conv_of_the_platform"
    assert held.ended_by == "script_over"
    assert held.faults == ()


def test_the_agent_may_end_it() -> None:
    workspace = Workspace(["Goodbye.", "never"])
    held, _ = hold(workspace, lines=["One?", "Two?"])
    assert (held.ended_by, workspace.session.said) == ("agent", ["One?"])


def test_a_busy_platform_is_asked_again_after_the_time_it_names() -> None:
    held, clock = hold(Workspace(["Yes."], busy=3), lines=["One?"])
    assert held.faults == ()
    assert clock.now() == 6.0


@pytest.mark.parametrize("workspace", [Workspace([], busy=99), Workspace([ConversationClosedError("gone", code=1011)])])
def test_what_the_platform_breaks_is_no_failure_of_the_agent(workspace: Workspace) -> None:
    held, _ = hold(workspace, lines=["One?"])
    assert [fault.party for fault in held.faults] == ["provider"]
    assert held.conversation.id.startswith("conv_")


@pytest.mark.parametrize(
    "broken", [ToolError("failed", tool="find"), ConversationClosedError("gone", code=1011), asyncio.CancelledError()]
)
def test_no_conversation_of_the_platform_stays_open_when_a_trial_breaks(broken: BaseException) -> None:
    workspace = Workspace(["Yes.", broken])
    with contextlib.suppress(asyncio.CancelledError):
        held, _ = hold(workspace, lines=["One?", "Two?"])
        assert [fault.party for fault in held.faults] == ["tool" if isinstance(broken, ToolError) else "provider"]
    assert workspace.session.said == ["One?", "Two?"]
    assert not workspace.session.is_left_open


def test_what_another_platform_cannot_do_is_refused_before_it_is_tried() -> None:
    begun = Scenario(id="begun", opening="x", history=[{"role": "user", "text": "Hello"}])
    with pytest.raises(NotSupportedError, match="begun begins with a `history`"):
        check_remote([CLOUD], [begun], mode="text")
    with pytest.raises(NotSupportedError, match="compared in text"):
        check_remote([CLOUD], [], mode="voice")
    mocked = Scenario(id="m", opening="x", mocks={"order_status": [{"result": 1}]})
    assert "mocks of 1 scenario are not used on elevenlabs" in check_remote([CLOUD], [mocked], mode="text")[0]
    stateful = Scenario(id="s", opening="x", checks=[{"said": "x"}, {"state": {"has": {"order": "cancelled"}}}])
    with pytest.raises(NotSupportedError, match="scenario s checks the `state` that mocked tools leave"):
        check_remote([CLOUD], [stateful], mode="text")
    assert check_remote([Variant("here", AGENT)], [begun], mode="voice") == []
