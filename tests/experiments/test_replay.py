"""What the other model would have said: from one turn of a recorded conversation on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn
from convai_lab.errors import CassetteMissError, InvalidValueError, MissingKeyError, ProviderRateLimitError
from convai_lab.experiments.replay import areplay, replay
from convai_lab.testing.fake_llm import FakeLLM, Reply, call
from convai_lab.testing.fake_vendors import FakeVendor

ran: list[str] = []


@tool
def order_status_of_replay(order_id: str) -> dict[str, str]:
    """Look up an order."""
    ran.append(order_id)
    return {"order": order_id, "eta": "never"}


NAME = "order_status_of_replay"


def asked(own_id: str, order_id: str, value: str) -> dict[str, Any]:
    return {
        "tool_calls": (ToolCall(id=own_id, name=NAME, arguments={"order_id": order_id}),),
        "tool_results": (ToolResult(call_id=own_id, name=NAME, value=value, latency_secs=0.5),),
    }


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


@pytest.fixture
def sam(agent: Agent) -> Agent:
    return agent.with_changes(
        prompt="You are Sam for {{name}}.", tools=(order_status_of_replay,), first_message="Hello!"
    )


@pytest.fixture
def recorded() -> Conversation:
    return Conversation(
        id="conv_old",
        agent_id="agent_1",
        agent_name="Support",
        seed=7,
        variables={"name": "Ada"},
        turns=(
            Turn(role="agent", text="Hello!", marks=("first_message",)),
            Turn(role="user", text="Where is order 1?"),
            Turn(role="agent", text="It ships today.", llm_requested="old", **asked("a", "1", '{"eta": "today"}')),
            Turn(role="user", text="And 2?"),
            Turn(role="agent", text="Tomorrow, I think, or on Friday.", text_heard="Tomorrow", interrupted=True,
                 llm_requested="old", **asked("b", "2", '{"eta": "tomorrow"}')),
            Turn(role="user", text="Thanks"),
            Turn(role="agent", text="Bye", llm_requested="old"),
        ),
    )  # fmt: skip


def said(conversation: Conversation) -> list[str]:
    return [turn.text for turn in conversation.turns]


def sent(llm: FakeLLM, number: int = 0) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in llm.requests[number].messages]


def test_the_other_model_answers_the_last_turn_and_the_record_says_where_it_comes_from(
    sam: Agent, recorded: Conversation
) -> None:
    llm = FakeLLM(["You are welcome!"])
    made = replay(recorded, llm=llm, agent=sam)
    assert said(made) == [*said(recorded)[:6], "You are welcome!"]
    assert (made.parent_id, made.source, made.status, made.seed) == ("conv_old", "replay", "done", 7)
    assert made.id != recorded.id
    assert [turn.marks for turn in made.turns[4:]] == [(), ("replay",), ("replay",)]
    assert made.turns[:5] == recorded.turns[:5]
    assert sent(llm)[0] == ("system", "You are Sam for Ada.")
    assert sent(llm)[-1] == ("user", "Thanks")
    assert llm.requests[0].seed == 7
    assert not any("Friday" in text for _, text in sent(llm))
    assert recorded.source == "live"


@pytest.mark.parametrize("from_turn", [3, 4])
def test_a_turn_is_named_by_the_user_or_by_the_reply_to_it(sam: Agent, recorded: Conversation, from_turn: int) -> None:
    llm = FakeLLM(["On Monday."])
    made = replay(recorded, from_turn, llm=llm, agent=sam)
    assert said(made) == ["Hello!", "Where is order 1?", "It ships today.", "And 2?", "On Monday."]


def test_recorded_results_of_tools_are_used_and_marked_and_nothing_runs(sam: Agent, recorded: Conversation) -> None:
    llm = FakeLLM([call(NAME, order_id="2"), call(NAME, order_id="9"), "Tomorrow."])
    made = replay(recorded, 3, llm=llm, agent=sam)
    known, unknown = made.turns[-1].tool_results
    assert (known.value, known.is_error, known.extra["replay"]) == ('{"eta": "tomorrow"}', False, True)
    assert known.call_id == made.turns[-1].tool_calls[0].id
    assert unknown.is_error
    assert "a replay runs no tools" in unknown.value
    assert ran == []
    assert ("tool", '{"eta": "tomorrow"}') in sent(llm, 1)


def test_tools_run_where_that_is_asked_for_and_nothing_was_recorded(sam: Agent, recorded: Conversation) -> None:
    llm = FakeLLM([[call(NAME, id="x", order_id="1"), call(NAME, id="y", order_id="9")], "So."])
    made = replay(recorded, 5, llm=llm, agent=sam, run_tools=True)
    assert ran == ["9"]
    assert [result.value for result in made.turns[-1].tool_results] == [
        '{"eta": "today"}',
        '{"order": "9", "eta": "never"}',
    ]


def test_it_goes_on_with_what_the_user_said_then(sam: Agent, recorded: Conversation) -> None:
    llm = FakeLLM(["One.", "Two.", "Three."])
    made = replay(recorded, 1, llm=llm, agent=sam, go_on=True)
    assert said(made) == ["Hello!", "Where is order 1?", "One.", "And 2?", "Two.", "Thanks", "Three."]
    assert ("assistant", "Two.") in sent(llm, 2)
    assert all("replay" in turn.marks for turn in made.turns[1:])


def test_a_conversation_that_the_user_began_gets_no_first_message(sam: Agent, recorded: Conversation) -> None:
    made = replay(recorded.with_changes(turns=recorded.turns[1:3]), llm=FakeLLM(["New."]), agent=sam)
    assert said(made) == ["Where is order 1?", "New."]


@pytest.mark.parametrize(
    ("from_turn", "told"),
    [(7, "there is no turn 7 to replay: this conversation has 7"), (-1, "no turn -1"), (True, "no turn True"),
     ("4", "no turn '4'"), (0, "the user has said nothing up to that turn")],
)  # fmt: skip
def test_a_turn_that_cannot_be_replayed_is_refused(
    sam: Agent, recorded: Conversation, from_turn: Any, told: str
) -> None:
    with pytest.raises(InvalidValueError, match=told):
        replay(recorded, from_turn, llm=FakeLLM(["x"]), agent=sam)


def test_other_things_that_cannot_be_replayed_are_refused(sam: Agent, recorded: Conversation) -> None:
    with pytest.raises(InvalidValueError, match="conversation: must be a Conversation, got str"):
        replay("conv_1", llm="offline", agent=sam)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="agent: must be an Agent, got str"):
        replay(recorded, llm="offline", agent="Support")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="the user has said nothing"):
        replay(recorded.with_changes(turns=()), llm="offline", agent=sam)
    with pytest.raises(MissingKeyError, match="ANTHROPIC_API_KEY"):
        replay(recorded, llm="claude-haiku-4-5", agent=sam)


def test_a_model_that_fails_leaves_what_was_answered_before(sam: Agent, recorded: Conversation) -> None:
    busy = ProviderRateLimitError("slow down", provider="fake")
    with pytest.raises(ProviderRateLimitError) as error:
        replay(recorded, 1, llm=FakeLLM(["One.", Reply(error=busy)]), agent=sam, go_on=True)
    partial = error.value.conversation  # type: ignore[attr-defined]
    assert said(partial)[:4] == ["Hello!", "Where is order 1?", "One.", "And 2?"]
    assert partial.status == "failed"


async def test_it_can_be_awaited_and_names_an_option_it_does_not_have(sam: Agent, recorded: Conversation) -> None:
    made = await areplay(recorded, 3, llm=FakeLLM(["On Monday."]), agent=sam)
    assert said(made)[-1] == "On Monday."
    with pytest.raises(InvalidValueError, match="form_turn: is no option"):
        await areplay(recorded, form_turn=3)


def test_a_replay_by_a_vendors_model_is_recorded_and_repeated_without_it(
    sam: Agent, recorded: Conversation, vendor: FakeVendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.answer(lambda _: Reply("Monday.", delay_secs=0.05))  # type: ignore[attr-defined]
    path = tmp_path / "replay.jsonl"
    live = replay(recorded, 3, llm="gpt-4o-mini", agent=sam, cassette=f"{path}:record")
    for name in vendor.settings:
        monkeypatch.delenv(name)
    asked = len(vendor.requests)
    again = replay(recorded, 3, llm="gpt-4o-mini", agent=sam, cassette=str(path))
    assert said(again) == said(live)
    assert said(live)[-1] == "Monday."
    assert again.cassette == "replay.jsonl"
    took, then = again.turns[-1].metrics.llm_ttft_ms, live.turns[-1].metrics.llm_ttft_ms
    assert took is not None
    assert then is not None
    assert 50 <= took <= then + 0.01  # what we ourselves took is left out
    assert again.turns[-1].metrics.input_tokens == live.turns[-1].metrics.input_tokens
    with pytest.raises(CassetteMissError, match="was not recorded"):
        replay(recorded, 1, llm="gpt-4o-mini", agent=sam, cassette=str(path))
    assert len(vendor.requests) == asked
