"""What the model is sent for the turns so far."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn
from convai_lab.conversations.wire_format import conversation_from_wire, conversation_to_wire
from convai_lab.dialogue.history import FILLER, NO_RESULT, History, estimated_tokens, groups_of, trimmed
from convai_lab.dialogue.record import with_own
from convai_lab.providers.base import ChatMessage
from convai_lab.testing.fake_llm import Reply, call


def said(turns: Any, **more: Any) -> list[tuple[str, str]]:
    return [(m.role, m.content) for group in groups_of(turns, **more) for m in group]


def with_tools(text: str, *ids: str, rounds: Any = None, **more: Any) -> Turn:
    return Turn(
        role="agent",
        text=text,
        tool_calls=tuple(ToolCall(id=i, name="t") for i in ids),
        tool_results=tuple(ToolResult(call_id=i, name="t", value=f"result {i}") for i in ids),
        extra=with_own({}, "rounds", rounds),
        **more,
    )


def test_text_and_calls_alternate_as_they_did() -> None:
    turn = with_tools("Wait. Here.", "a", "b", rounds=[[5, 2], [6, 0]])
    assert said([Turn(role="user", text="Hi"), turn, Turn(role="user", text="Ok")]) == [
        ("user", "Hi"),
        ("assistant", "Wait."),
        ("tool", "result a"),
        ("tool", "result b"),
        ("assistant", " Here."),
        ("user", "Ok"),
    ]


@pytest.mark.parametrize("rounds", [None, "nonsense", [["a", 1]], [[-1, 1]], [[1]], [[1, True, 2]]])
def test_without_a_record_of_the_rounds_calls_come_before_the_text(rounds: Any) -> None:
    turn = with_tools("Here.", "a")
    turn = turn.with_changes(extra={"convai_lab": {"rounds": rounds}})
    assert [role for role, _ in said([turn])][:3] == ["assistant", "tool", "assistant"]


def test_only_what_was_heard_is_sent_but_every_tool_call_stays() -> None:
    turn = with_tools("Wait. Here you are.", "a", rounds=[[5, 1], [14, 0]], interrupted=True, text_heard="Wait. Here")
    assert said([turn])[:3] == [("assistant", "Wait."), ("tool", "result a"), ("assistant", " Here")]
    nothing = turn.with_changes(text_heard="")
    assert said([nothing])[:2] == [("assistant", ""), ("tool", "result a")]
    other = turn.with_changes(text_heard="wait... here")
    assert ("assistant", "wait... here") in said([other])


def test_a_call_without_a_result_is_answered_that_it_was_cut_off() -> None:
    turn = with_tools("", "a", "b").with_changes(tool_results=())
    messages = [m for group in groups_of([turn]) for m in group]
    assert [(m.content, m.is_error) for m in messages if m.role == "tool"] == [(NO_RESULT, True)] * 2


def test_an_empty_conversation_tells_the_agent_that_nothing_was_said() -> None:
    assert said([]) == [("system", "The user has not said anything.")]


def test_the_same_messages_come_again_at_the_next_request_so_that_vendors_can_cache(bench: Any) -> None:
    script = [Reply("Hm.", [call("order_status", order_id="1")]), "Here.", "Bye."]
    loop = bench.loop(script, tool=lambda c: "ok")
    loop.add_context("a VIP")
    bench.exchange(loop, "Where?", "Thanks")
    first, second, third = (list(request.messages) for request in bench.llm.requests)
    assert second[: len(first)] == first
    assert third[: len(second)] == second


def test_a_conversation_read_from_its_wire_form_gives_the_same_messages(bench: Any) -> None:
    script = [Reply("Hm.", [call("order_status", order_id="1")]), "Here.", "Bye."]
    loop = bench.loop(script, tool=lambda c: "ok")
    loop.add_context("a VIP")
    bench.exchange(loop, "Where?")
    loop.interrupt("Hm. He")
    stored = json.loads(json.dumps(conversation_to_wire(loop.conversation)))
    assert groups_of(conversation_from_wire(stored).turns) == groups_of(loop.conversation.turns)


def turns(number: int, chars: int = 400) -> list[Turn]:
    return [Turn(role="user" if i % 2 == 0 else "agent", text=f"{i} " + "x" * chars) for i in range(number)]


def test_trimming_keeps_the_system_prompt_and_the_newest_turns() -> None:
    messages = trimmed("SYSTEM", groups_of([*turns(100), Turn(role="user", text="now")]), budget=1000)
    assert messages[0] == ChatMessage(role="system", content="SYSTEM")
    assert "left out" in messages[1].content
    assert messages[-1].content == "now"
    assert 5 < len(messages) < 15
    assert sum(estimated_tokens(m) for m in messages) < 1050


def test_nothing_is_said_to_be_left_out_when_nothing_was() -> None:
    assert [m.role for m in trimmed("S", groups_of(turns(3)))] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize("budget", [0, -5, 1])
def test_the_system_prompt_and_the_newest_turn_stay_even_when_they_are_too_large(budget: int) -> None:
    messages = trimmed("S" * 10_000, groups_of(turns(9)), budget=budget)
    assert [m.role for m in messages] == ["system", "system", "user"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=25),
    st.integers(0, 3000),
)
def test_a_call_is_never_parted_from_its_result(calls: list[int], budget: int) -> None:
    made = []
    for i, number in enumerate(calls):
        made.append(Turn(role="user", text=f"question {i} " + "x" * 50))
        made.append(with_tools("answer " * 5, *(f"{i}.{n}" for n in range(number)), rounds=[[6, number]]))
    messages = trimmed("S", groups_of(made), budget=budget)
    open_calls: list[str] = []
    for message in messages:
        assert not open_calls or message.role == "tool"
        if message.role == "tool":
            assert open_calls.pop(0) == message.tool_call_id
        open_calls += [asked.id for asked in message.tool_calls]
    assert open_calls == []


def test_text_in_other_scripts_counts_for_more() -> None:
    plain = estimated_tokens(ChatMessage(role="user", content="a" * 400))
    other = estimated_tokens(ChatMessage(role="user", content="日" * 400))
    assert (plain, other) == (105, 405)


def test_a_reply_with_huge_results_still_holds_the_users_words(bench: Any) -> None:
    loop = bench.loop(
        [Reply("", [call("order_status", order_id="1")]), "Done."], tool=lambda c: "x" * 19_000, context_tokens=500
    )
    bench.exchange(loop, "Where is it?")
    assert [m.role for m in bench.llm.requests[1].messages] == ["system", "user", "assistant", "tool"]


def test_a_longer_conversation_makes_messages_of_its_new_turns_only() -> None:
    history, many = History(), turns(1000)
    before = history.groups(many[:-2])
    after = history.groups(many)
    assert after == groups_of(many)
    assert all(kept is new for kept, new in zip(before[:-1], after, strict=False))


TURNS = st.sampled_from(
    [
        Turn(role="user", text="Hi"),
        Turn(role="user", text="Ok", extra=with_own({}, "contextual_updates", ["The shop closes at six."])),
        Turn(role="agent", text="Hello."),
        Turn(role="agent", text="Hello there.", text_heard="Hello", interrupted=True),
        Turn(role="agent", text=""),
        Turn(role="agent", text="Broken", error="x"),
        Turn(role="agent", text="Hmm", marks=(FILLER,)),
        with_tools("Wait. Here.", "a", rounds=[[5, 1], [6, 0]]),
    ]
)


@given(st.lists(st.tuples(st.integers(0, 6), st.lists(TURNS, max_size=4), st.sampled_from([(), ("It rains.",)]))))
def test_a_conversation_that_grows_and_is_changed_gives_the_messages_of_a_new_one(changes: Any) -> None:
    history, so_far = History(), list[Turn]()
    for undone, more, context in changes:
        so_far = [*so_far[: len(so_far) - undone], *more]
        assert history.groups(so_far, context=context) == groups_of(so_far, context=context)


def test_a_turn_keeps_its_record_through_its_fields() -> None:
    assert asdict(with_tools("x", "a", rounds=[[1, 1]]))["extra"] == {"convai_lab": {"rounds": [[1, 1]]}}
    assert Conversation(id="c", agent_id="a").extra == {}
