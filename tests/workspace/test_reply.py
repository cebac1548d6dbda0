"""When is the agent's reply complete?"""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.workspace.events import AgentText, AgentTurn, ToolAnswered, ToolCalled
from convai_lab.workspace.reply import DOUBT_SECS, PARTS_ONLY_SECS, ReplyTracker


def part(kind: str, text: str = "") -> dict[str, Any]:
    return {"type": "agent_chat_response_part", "text_response_part": {"type": kind, "text": text, "event_id": 1}}


def response(text: str, event_id: Any = 1) -> dict[str, Any]:
    return {"type": "agent_response", "agent_response_event": {"agent_response": text, "event_id": event_id}}


def tool_frame(kind: str, name: str, call_id: str = "c1", **more: Any) -> dict[str, Any]:
    return {"type": kind, kind: {"tool_name": name, "tool_call_id": call_id, "tool_type": "webhook", **more}}


def test_a_reply_is_complete_when_its_whole_text_came() -> None:
    reply = ReplyTracker()
    assert reply.patience_secs is None
    told = [event for frame in (part("start"), part("delta", "Hello")) for event in reply.take(frame)]
    assert told == [AgentText("Hello")]
    assert reply.patience_secs is None
    reply.take(part("stop"))
    assert reply.patience_secs == PARTS_ONLY_SECS
    assert reply.take(response("Hello")) == [AgentTurn("Hello")]
    assert reply.patience_secs == 0
    assert reply.text == "Hello"


def test_elsewhere_a_pause_follows_the_whole_text() -> None:
    reply = ReplyTracker(grace_secs=0.8)
    reply.take(response("Hello"))
    assert reply.patience_secs == 0.8


def test_a_tool_of_ours_reopens_the_reply_until_the_agent_spoke_about_its_result() -> None:
    reply = ReplyTracker()
    reply.take(response("Let me look.", 1))
    assert reply.tool_called("c1", "look", {"a": 1}, answers=True) == ToolCalled("look", {"a": 1})
    assert reply.waits_for_us
    assert reply.patience_secs is None
    assert reply.tool_answered("c1", "look", "42", is_error=False, answers=True) == ToolAnswered("look", "42", False)
    assert reply.patience_secs is None
    reply.take(response("It is 42.", 1))
    assert reply.patience_secs == 0
    assert reply.text == "Let me look. It is 42."


def test_a_tool_whose_result_nobody_awaits_does_not_reopen_the_reply() -> None:
    reply = ReplyTracker()
    reply.take(response("Done.", 1))
    reply.tool_called("c1", "log", {}, answers=False)
    assert reply.patience_secs is None
    reply.tool_answered("c1", "log", "", is_error=False, answers=False)
    assert reply.patience_secs == 0


def test_several_tools_at_once_are_all_waited_for() -> None:
    reply = ReplyTracker()
    reply.tool_called("c1", "a", {}, answers=True)
    reply.tool_called("c2", "b", {}, answers=True)
    reply.tool_answered("c1", "a", "", is_error=False, answers=True)
    assert reply.waits_for_us
    reply.tool_answered("c2", "b", "", is_error=False, answers=True)
    assert not reply.waits_for_us


def test_parts_without_a_whole_text_count_after_a_pause() -> None:
    reply = ReplyTracker()
    for frame in (part("start"), part("delta", "Hel"), part("delta", "lo"), part("stop")):
        reply.take(frame)
    assert reply.flush() == [AgentTurn("Hello")]
    assert reply.patience_secs == 0


def test_the_same_response_twice_is_told_once() -> None:
    reply = ReplyTracker()
    assert reply.take(response("Hello", 3)) == [AgentTurn("Hello")]
    assert reply.take(response("Hello", 3)) == []
    assert reply.text == "Hello"


def test_a_late_response_of_the_turn_before_does_not_answer_the_next_message() -> None:
    reply = ReplyTracker()
    reply.take(response("First", 2))
    reply.begin()
    assert reply.take(response("First", 2)) == []
    assert reply.take(response("Greeting", 1)) == []
    assert reply.patience_secs is None
    assert reply.take(response("Second", 3)) == [AgentTurn("Second")]


def test_equal_replies_without_event_ids_both_count() -> None:
    reply = ReplyTracker()
    reply.take(response("Sorry?", None))
    reply.begin()
    assert reply.take(response("Sorry?", None)) == [AgentTurn("Sorry?")]


def test_a_tool_elsewhere_is_told_with_what_it_said_when_the_platform_says_it() -> None:
    reply = ReplyTracker()
    assert reply.take(tool_frame("agent_tool_request", "weather")) == [ToolCalled("weather")]
    assert reply.take(tool_frame("agent_tool_response", "weather")) == []
    full = tool_frame("agent_tool_response_full_payload", "weather", full_tool_result="rain")
    assert reply.take(full) == [ToolAnswered("weather", "rain")]
    assert reply.take(response("It rains.")) == [AgentTurn("It rains.")]


def test_a_tool_elsewhere_is_told_before_the_next_thing_when_nothing_more_is_said_about_it() -> None:
    reply = ReplyTracker()
    reply.take(tool_frame("agent_tool_response", "weather", is_error=True))
    assert reply.take(response("Sorry.")) == [ToolAnswered("weather", "", True), AgentTurn("Sorry.")]


def test_a_call_of_ours_is_not_told_twice() -> None:
    reply = ReplyTracker()
    reply.tool_called("c1", "look", {}, answers=True)
    assert reply.take(tool_frame("agent_tool_request", "look", tool_type="client")) == []
    assert reply.take(tool_frame("agent_tool_response", "look", tool_type="client")) == []
    assert reply.rest() == []


def test_skipping_a_turn_is_a_complete_reply_without_words() -> None:
    reply = ReplyTracker()
    reply.take(tool_frame("agent_tool_request", "skip_turn"))
    reply.take(tool_frame("agent_tool_response", "skip_turn"))
    assert reply.patience_secs == 0
    assert reply.text == ""


def test_ending_the_call_is_given_time_to_close_the_socket() -> None:
    reply = ReplyTracker()
    reply.take(tool_frame("agent_tool_request", "end_call"))
    reply.take(response("Goodbye."))
    assert reply.patience_secs == DOUBT_SECS
    reply.take(tool_frame("agent_tool_response", "end_call"))
    assert reply.patience_secs == DOUBT_SECS


def test_a_tool_elsewhere_that_answers_after_the_words_leaves_room_for_more_words() -> None:
    reply = ReplyTracker()
    reply.take(tool_frame("agent_tool_request", "weather"))
    reply.take(response("Let me look.", 1))
    reply.take(tool_frame("agent_tool_response", "weather"))
    assert reply.patience_secs == DOUBT_SECS
    reply.take(response("It rains.", 1))
    assert reply.patience_secs == 0


@pytest.mark.parametrize(
    "frame",
    [
        {},
        {"type": None},
        {"type": 7},
        {"type": ["agent_response"]},
        {"type": "something_new", "agent_response": "x"},
        {"type": "agent_response"},
        {"type": "agent_response", "agent_response_event": None},
        {"type": "agent_response", "agent_response_event": {"agent_response": 5}},
        {"type": "agent_chat_response_part", "text_response_part": [1]},
        {"type": "agent_tool_request", "agent_tool_request": {"tool_name": None}},
        {"type": "agent_tool_response_full_payload"},
        {"type": "audio", "audio_event": {"audio_base_64": "AAAA"}},
    ],
)
def test_malformed_and_unknown_frames_say_nothing(frame: dict[str, Any]) -> None:
    told = ReplyTracker().take(frame)
    assert not any(isinstance(event, AgentText | AgentTurn) for event in told)
