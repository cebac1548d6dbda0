"""The voice panel without a page: what it shows of a session, and what it does for the person."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ipywidgets import Widget
from ipywidgets.widgets import widget as widgets_alive

from convai_lab.agents.agent import Agent
from convai_lab.conversations import turn_view
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn, TurnMetrics
from convai_lab.notebook import panel_words
from convai_lab.notebook.session_panel import SessionPanel
from convai_lab.workspace import events, live_events
from convai_lab.workspace.media_line import MAX_CLIP_BYTES

AGENT = Agent(name="support", version=3, id="agent_1")
ATTACK = "<script>window.hit=1</script>"
CALL = ToolCall(id="1", name="order_status", arguments={"order_id": "1234"})
RESULT = ToolResult(call_id="1", name="order_status", value='{"status": "shipped"}', latency_secs=0.02)
TIMES = TurnMetrics(
    endpointing_ms=500, asr_ms=40, llm_ttft_ms=60, tts_ttfb_ms=90, unexplained_ms=22, voice_to_voice_ms=712
)
ASKED = Turn(role="user", text="where is my order", asr_engine="pocketsphinx", asr_confidence=0.87)
ANSWERED = Turn(
    role="agent",
    text="It ships tomorrow. Anything else?",
    text_heard="It ships tomorrow.",
    interrupted=True,
    agent_version=3,
    tool_calls=(CALL,),
    tool_results=(RESULT,),
    metrics=TIMES,
)


@pytest.fixture
def kept() -> list[Conversation]:
    return []


@pytest.fixture
def session(live_session: Callable[..., Any]) -> Any:
    return live_session(AGENT, ASKED, ANSWERED)


@pytest.fixture
def panel(page: None, notebook: Any, session: Any, kept: list[Conversation]) -> Iterator[SessionPanel]:
    made = SessionPanel(session, keep=kept.append)
    made.show()
    yield made
    made.remove()


def _sent(widget: Any, do: str) -> list[Any]:
    return [(content, buffers) for content, buffers in widget.comm.sent if content.get("do") == do]


def test_a_new_panel_is_ready_and_says_what_serves_it(panel: SessionPanel) -> None:
    assert panel.agent == "support@3"
    assert panel.status == {"state": "ready", "words": "Ready: press “Start talking”, or just type"}
    facts = dict(panel.facts)
    assert facts["platform"] == "local"
    assert facts["model"] == "offline"
    assert facts["hears with"] == "pocketsphinx"
    assert facts["speaks with"] == "espeak-ng"
    assert facts["sound"] == "not chosen yet"


def test_a_session_that_was_refused_before_its_panel_was_there_has_ended_in_it(
    page: None, notebook: Any, session: Any, kept: list[Conversation]
) -> None:
    session.state, session.end_reason = "ended", "OPENAI_API_KEY is not set"
    panel = SessionPanel(session, keep=kept.append)
    session.happens()
    assert panel.status["state"] == "ended"
    assert "OPENAI_API_KEY is not set" in panel.status["words"]
    assert session.listeners == 0


def test_where_no_widget_is_drawn_a_line_says_so(panel: SessionPanel) -> None:
    data, _ = panel._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.view_id == panel.model_id
    assert (
        data["text/plain"] == "The voice panel of support@3 shows only while its kernel runs; what was said is below."
    )
    panel.agent = ATTACK
    assert "&lt;script&gt;" in panel._repr_mimebundle_()[0]["text/html"]


def test_states_are_told_in_words(panel: SessionPanel, session: Any) -> None:
    panel.comm.page_says({"do": "start", "kind": "auto"})
    assert panel.status["words"] == "Connecting"
    session.happens(live_events.StateChanged("listening"), state="listening")
    assert panel.status == {"state": "listening", "words": "Listening to you"}
    session.happens(live_events.StateChanged("speaking"), state="speaking")
    assert panel.status["words"] == "The agent is speaking"
    assert panel.elapsed["running"] is True


def test_the_line_in_use_is_named(panel: SessionPanel, session: Any) -> None:
    session.happens(live_events.MediaChanged("webrtc", is_connected=False))
    assert dict(panel.facts)["sound"] == "not chosen yet"
    session.happens(live_events.MediaChanged("webrtc"))
    assert "WebRTC" in dict(panel.facts)["sound"]
    session.happens(live_events.MediaChanged("comm"))
    assert "through the notebook" in dict(panel.facts)["sound"]


def test_what_is_being_said_is_shown_until_it_is_final(panel: SessionPanel, session: Any) -> None:
    session.happens(live_events.UserPartial("where is"))
    assert panel.partial == "you: where is"
    session.happens(live_events.UserPartial(""))
    assert panel.partial == "", "nothing is no word of the user"
    session.happens(events.UserTurn("where is my order"))
    assert panel.partial == ""
    session.happens(events.AgentText("It "), events.AgentText("ships"))
    assert panel.partial == "agent: It ships"
    session.happens(live_events.TurnStored(1, ANSWERED))
    assert panel.partial == ""


def test_a_turn_shows_what_was_heard_the_tool_and_where_the_time_went(panel: SessionPanel, session: Any) -> None:
    session.happens(live_events.TurnStored(1, ANSWERED))
    asked, answered = panel.turns
    assert asked["times"] == ["heard by pocketsphinx, confidence 0.87"]
    assert answered["heard"] == "It ships tomorrow."
    assert answered["unheard"] == " Anything else?"
    assert answered["times"] == ["answered after 712 ms, most of it waiting for the end of the turn (500 ms)"]
    [tool] = answered["tools"]
    assert tool["name"] == "order_status"
    assert json.loads(tool["arguments"]) == {"order_id": "1234"}
    assert tool["result"] == '{"status": "shipped"}'
    assert tool["outcome"] == "20 ms"


def test_only_the_newest_turns_are_in_the_panel_and_all_in_the_transcript(
    page: None, notebook: Any, live_session: Callable[..., Any]
) -> None:
    session = live_session(AGENT, *[Turn(role="user", text=f"line {i}") for i in range(40)])
    panel = SessionPanel(session, keep=lambda _: None)
    session.happens(live_events.TurnStored(39, session.conversation.turns[-1]))
    assert [turn["index"] for turn in panel.turns] == list(range(10, 40))
    panel.remove()


def test_the_page_gets_signals_sound_and_flushes_in_order(panel: SessionPanel, session: Any) -> None:
    join = {"type": "join", "room_id": "platform"}
    session.happens(live_events.Signal(join), live_events.AgentAudio(b"\1\0" * 80, 16000, 7), live_events.Flush(7))
    assert [content for content, _ in panel.media.comm.sent] == [
        {"do": "signal", "message": join},
        {"do": "audio", "rate": 16000, "event_id": 7},
        {"do": "flush", "event_id": 7},
    ]
    assert _sent(panel.media, "audio")[0][1] == [b"\1\0" * 80]


def test_what_the_page_says_reaches_the_line(panel: SessionPanel, session: Any) -> None:
    offer = {"sdp": {"type": "offer", "sdp": "v=0"}, "room_id": "here", "to": "platform"}
    panel.media.comm.page_says({"event": "choose", "kind": "webrtc"})
    panel.media.comm.page_says({"event": "signal", "message": offer})
    panel.media.comm.page_says({"event": "pcm", "rate": 48000}, b"\0\1" * 2880)
    assert session.media.chosen == ["webrtc"]
    assert session.media.signals == [offer]
    assert session.media.frames == [(b"\0\1" * 2880, 48000)]


def test_how_long_sound_takes_in_the_page_reaches_the_line_and_its_answer_the_page(
    panel: SessionPanel, session: Any
) -> None:
    told = {"to_agent_ms": 5.5, "to_user_ms": 80, "number": 7, "is_at_start": True, "heard_at": 12.5}
    panel.media.comm.page_says({"event": "takes", **told})
    assert session.media.posted == [{"type": "live_sound_takes", **told}]
    session.happens(live_events.SoundTimed(7, 512.5))
    assert [content for content, _ in _sent(panel.media, "timed")] == [{"do": "timed", "number": 7, "at": 512.5}]


@pytest.mark.parametrize(
    "content",
    [
        None,
        "pcm",
        {},
        {"event": 5},
        {"event": "choose", "kind": "pigeon"},
        {"event": "choose"},
        {"event": "signal", "message": "join"},
        {"event": "pcm", "rate": "fast"},
        {"event": "pcm", "rate": float("nan")},
        {"event": "pcm", "rate": 1},
        {"event": "pcm"},
        {"event": "takes"},
        {"event": "takes", "to_agent_ms": 5, "to_user_ms": 5, "number": "7"},
        {"event": "takes", "to_agent_ms": 5, "to_user_ms": 5, "number": -1},
        {"event": "takes", "to_agent_ms": "5", "to_user_ms": 5, "number": 7},
        {"event": "takes", "to_agent_ms": 5, "to_user_ms": 10_001, "number": 7},
        {"event": "takes", "to_agent_ms": float("nan"), "to_user_ms": 5, "number": 7},
        {"event": "takes", "to_agent_ms": 5, "to_user_ms": 5, "number": 7, "heard_at": float("inf")},
    ],
)
def test_a_page_that_talks_nonsense_changes_nothing(panel: SessionPanel, session: Any, content: Any) -> None:
    panel.media.comm.page_says(content, b"\0\0")
    panel.comm.page_says(content)
    assert (session.media.chosen, session.media.signals, session.media.frames) == ([], [], [])
    assert session.media.posted == []
    assert panel.problem == {}


@pytest.mark.parametrize("frame", [b"", b"\0", b"\0\0" * 200_000])
def test_a_frame_that_cannot_be_one_is_passed_over(panel: SessionPanel, session: Any, frame: bytes) -> None:
    panel.media.comm.page_says({"event": "pcm", "rate": 16000}, frame)
    panel.media.comm.page_says({"event": "pcm", "rate": 16000})
    assert session.media.frames == []


def test_a_recorded_clip_goes_to_the_platform(panel: SessionPanel, session: Any) -> None:
    panel.media.recorder.audio.value = b"webm bytes"
    assert session.media.clips == [(b"webm bytes", "audio/webm")]


def test_a_clip_that_is_too_long_is_refused_in_words(panel: SessionPanel, session: Any) -> None:
    panel.media.recorder.audio.value = b"x" * (MAX_CLIP_BYTES + 1)
    assert session.media.clips == []
    assert "speak shorter" in panel.problem["what"]


@pytest.mark.parametrize("code", ["refused", "no_device", "device_busy", "microphone", "insecure", "no_call"])
def test_without_a_microphone_the_conversation_goes_on_in_writing(panel: SessionPanel, session: Any, code: str) -> None:
    panel.comm.page_says({"do": "start", "kind": "auto"})
    panel.media.comm.page_says({"event": "problem", "code": code, "detail": "NotAllowedError"})
    assert session.media.chosen == ["text"]
    assert panel.problem["what"].startswith(panel_words.PROBLEMS[code].what)
    assert "type below" in panel.problem["instead"]
    panel.comm.page_says({"do": "say", "text": " hello "})
    assert session.said == ["hello"]


def test_a_refused_microphone_test_does_not_start_the_session(panel: SessionPanel, session: Any) -> None:
    panel.media.comm.page_says({"event": "problem", "code": "refused", "detail": ""})
    assert session.media.chosen == []
    assert panel.status["state"] == "ready"


def test_typing_starts_a_session_that_was_not_started(panel: SessionPanel, session: Any) -> None:
    panel.comm.page_says({"do": "say", "text": "hello"})
    panel.comm.page_says({"do": "say", "text": "again"})
    panel.comm.page_says({"do": "say", "text": "  "})
    panel.comm.page_says({"do": "say", "text": None})
    assert session.media.chosen == ["text"]
    assert session.said == ["hello", "again"]


def test_a_session_begun_from_another_cell_is_no_longer_waiting_for_start(panel: SessionPanel, session: Any) -> None:
    session.happens(live_events.StateChanged("connecting"))
    assert panel.status["state"] == "ready"
    session.happens(live_events.StateChanged("thinking"), state="thinking")
    assert panel.status["words"] == "Thinking"
    assert panel.elapsed["running"] is True


def test_mute_and_end_reach_the_session(panel: SessionPanel, session: Any) -> None:
    panel.comm.page_says({"do": "mute", "on": True})
    panel.comm.page_says({"do": "mute", "on": False})
    panel.comm.page_says({"do": "end"})
    assert session.mutes == [True, False]
    assert session.ends == 1


def test_a_cell_that_mutes_mutes_the_page(panel: SessionPanel, session: Any) -> None:
    session.happens(live_events.Muted(True))
    assert [content["on"] for content, _ in _sent(panel.media, "mute")] == [True]


def test_why_there_is_no_call_is_told_to_the_page_and_to_the_person(panel: SessionPanel, session: Any) -> None:
    session.happens(live_events.MediaChanged("webrtc", is_connected=False, reason="WebRTC needs aiortc"))
    assert [content["reason"] for content, _ in _sent(panel.media, "refused")] == ["WebRTC needs aiortc"]
    assert "WebRTC needs aiortc" in panel.problem["what"]
    assert panel.problem["instead"] == "The sound goes through the notebook instead."


def test_what_tools_print_is_shown_and_bounded(panel: SessionPanel, session: Any) -> None:
    session.happens(live_events.ToolPrinted("order_status", "looking up 1234\n"))
    assert panel.printed == "order_status: looking up 1234\n"
    session.happens(*[live_events.ToolPrinted("order_status", "x" * 1000)] * 10)
    assert len(panel.printed) == 4000


def test_what_the_platform_refuses_is_said(panel: SessionPanel, session: Any) -> None:
    session.happens(live_events.Refused("the clip is no audio"))
    assert panel.problem["what"] == "The platform refused something. (the clip is no audio)"


def test_the_end_shows_why_what_to_copy_and_gives_everything_back(
    panel: SessionPanel, session: Any, kept: list[Conversation]
) -> None:
    before, media = len(widgets_alive._instances), panel.media
    panel.comm.page_says({"do": "start", "kind": "auto"})
    session.happens(live_events.StateChanged("ended", "the agent ended the conversation"), state="ended")
    assert panel.status["words"] == "Ended: the agent ended the conversation"
    assert panel.elapsed["running"] is False
    assert kept == [session.conversation]
    assert panel.finished["id"] == "conv_1"
    assert panel.finished["code"] == "%%chat support\nwhere is my order"
    [scenario] = json.loads(panel.finished["test"])
    assert scenario["opening"] == "where is my order"
    assert scenario["expected_tool_calls"] == ["order_status"]
    assert panel.media is None
    media.comm.page_says({"event": "closed", "made": [None, "no such widget", media.camera.model_id]})
    assert session.listeners == 0
    assert len(widgets_alive._instances) < before


def test_a_long_reason_for_the_end_is_a_problem_of_its_own_below_the_head(panel: SessionPanel, session: Any) -> None:
    reason = "the recogniser pocketsphinx understands only en, not 'de': choose another one, or one of its languages"
    session.happens(live_events.StateChanged("ended", reason), state="ended")
    assert panel.status["words"] == "Ended"
    assert panel.problem["what"] == "T" + reason[1:]


@pytest.mark.parametrize("reason", ["user", "you ended the session"])
def test_who_ends_the_session_is_told_so(panel: SessionPanel, session: Any, reason: str) -> None:
    session.happens(live_events.StateChanged("ended", reason), state="ended")
    assert panel.status["words"] == "Ended by you"


def test_the_end_says_what_of_the_sound_cannot_be_heard(panel: SessionPanel, session: Any) -> None:
    lacks = "its recording stops before its end, because the disk took no more"
    session.conversation = session.conversation.with_changes(has_audio=True, audio_problem=lacks)
    panel.comm.page_says({"do": "start", "kind": "auto"})
    session.happens(live_events.StateChanged("ended", "user"), state="ended")
    assert (panel.finished["has_audio"], panel.finished["audio_problem"]) == (True, lacks)


def test_ten_panels_opened_and_closed_leave_no_widget_and_no_listener(
    page: None, notebook: Any, live_session: Callable[..., Any]
) -> None:
    def hold() -> int:
        session = live_session(AGENT)
        panel = SessionPanel(session, keep=lambda _: None)
        media = panel.media
        panel.show()
        session.happens(live_events.StateChanged("ended", "user"), state="ended")
        media.comm.page_says({"event": "closed", "made": []})
        panel.comm.page_says({"do": "remove"})
        return int(session.listeners)

    Widget.close_all()
    assert [hold() for _ in range(10)] == [0] * 10
    assert len(widgets_alive._instances) == 0


def test_nothing_that_was_said_becomes_markup_in_what_lasts(
    page: None, notebook: Any, live_session: Callable[..., Any]
) -> None:
    from convai_lab.notebook.panel_transcript import LastingTranscript

    session = live_session(Agent(name=ATTACK), Turn(role="user", text=ATTACK))
    transcript = LastingTranscript(session.conversation)
    transcript.explain(panel_words.PROBLEMS["no_panel"])
    shown = transcript._picture()
    assert "<script" not in shown.html
    assert "&lt;script&gt;" in shown.html
    assert "The panel did not appear." in shown.text


def test_the_transcript_is_folded_while_the_panel_shows_the_same_and_open_at_the_end(
    page: None, notebook: Any, session: Any
) -> None:
    from convai_lab.notebook.panel_transcript import LastingTranscript

    transcript = LastingTranscript(session.conversation)
    assert "<details><summary" in transcript._picture().html
    assert "Transcript so far (2 turns)" in transcript._picture().html
    transcript.show(session.conversation, final=True)
    assert "Transcript so far" not in transcript._picture().html
    assert "It ships tomorrow." in transcript._picture().text


def test_the_largest_stage_is_named_only_when_it_was_measured() -> None:
    assert turn_view.largest_stage(TurnMetrics()) is None
    assert turn_view.latency(Turn(role="agent")) == ""
    assert turn_view.latency(Turn(role="agent", metrics=TurnMetrics(voice_to_voice_ms=900))) == "answered after 900 ms"


def test_code_to_copy_keeps_one_line_a_message_and_quotes_what_needs_it() -> None:
    conversation = Conversation(
        id="c",
        agent_id="a",
        agent_name="order desk",
        variables={"name": "Ada Lovelace"},
        turns=(Turn(role="user", text="one\ntwo"), Turn(role="agent", text="hi"), Turn(role="user", text="three")),
    )
    assert turn_view.as_code(conversation) == "%%chat 'order desk' --var name='Ada Lovelace'\none two\nthree"
