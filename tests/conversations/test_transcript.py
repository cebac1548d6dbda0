"""A transcript tells who spoke, what was heard and what is not known, to people and not to their browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from convai_lab.conversations.conversation import Analysis, Conversation
from convai_lab.conversations.cost import dollars
from convai_lab.conversations.transcript import transcript_html, transcript_text
from convai_lab.conversations.transcript_words import OFFLINE_BADGE, duration, spoken
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn, TurnMetrics
from convai_lab.conversations.wire_format import conversation_from_wire

MODEL: dict[str, Any] = {"llm_requested": "gpt-4o-mini", "llm_served": "gpt-4o-mini-2024-07-18"}
CUT = Turn(
    role="agent",
    agent_version=3,
    text="It has shipped and arrives tomorrow.",
    text_heard="It has shipped...",
    interrupted=True,
    interrupted_at_secs=9.4,
    metrics=TurnMetrics(llm_ttft_ms=412.4, tool_ms=120.0, cost_usd=0.0002, cost_is_estimate=True),
    tool_calls=(ToolCall(id="1", name="order_status", arguments={"order_id": "1234"}),),
    tool_results=(ToolResult(call_id="1", name="order_status", value="shipped", latency_secs=0.12),),
    **MODEL,
)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> & \"quotes\" 'single' {0} %s"


def talk(*turns: Turn, **fields: Any) -> Conversation:
    return Conversation(**{"id": "conv_1", "agent_id": "agent_1", "agent_name": "support", "turns": turns} | fields)


def seen(conversation: Conversation) -> str:
    """Return what a reader of the HTML sees, tags removed."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", transcript_html(conversation)))


class Tags(HTMLParser):
    """Collects the tags and attributes of a page, and checks that every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("br", "col"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


BOTH = pytest.mark.parametrize("show", [transcript_text, seen], ids=["text", "html"])


@BOTH
def test_a_turn_says_who_spoke_with_which_version_and_model(show: Any) -> None:
    shown = show(talk(CUT))
    assert "support@3" in shown
    assert "gpt-4o-mini-2024-07-18 (asked for gpt-4o-mini)" in shown


@BOTH
def test_latency_is_a_number_or_said_not_to_be_measured(show: Any) -> None:
    assert "first token 412 ms" in show(talk(CUT))
    assert "first token not measured" in show(talk(Turn(role="agent", text="hi", **MODEL)))
    voice = show(talk(Turn(role="agent", text="hi", **MODEL), channel="voice"))
    assert "voice to voice not measured" in voice
    assert " 0 ms" not in voice


@BOTH
def test_a_text_conversation_shows_no_voice_latency(show: Any) -> None:
    assert "voice to voice" not in show(talk(CUT))


@BOTH
def test_a_first_message_has_no_latency_to_miss(show: Any) -> None:
    shown = show(talk(Turn(role="agent", text="Hi", marks=("first_message",))))
    assert "first message" in shown
    assert "first token" not in shown


@BOTH
def test_offline_rules_are_never_taken_for_a_model(show: Any) -> None:
    assert OFFLINE_BADGE in show(talk(Turn(role="agent", text="Hi", marks=("offline",))))
    assert OFFLINE_BADGE in show(talk(Turn(role="agent", text="Hi", llm_served="offline")))
    assert OFFLINE_BADGE not in show(talk(CUT))


@BOTH
def test_fallbacks_and_live_edits_are_marked(show: Any) -> None:
    shown = show(talk(CUT.with_changes(marks=("fallback", "live_edit", "something_new"))))
    assert "fallback model" in shown
    assert "agent edited during the conversation" in shown
    assert "something_new" in shown


@BOTH
def test_an_interruption_is_said_in_words(show: Any) -> None:
    assert "interrupted at 9.4 s" in show(talk(CUT))
    unknown = show(talk(CUT.with_changes(text_heard=None, interrupted_at_secs=None)))
    assert "interrupted; what was heard is not known" in unknown


@BOTH
def test_tools_are_shown_with_arguments_result_and_time(show: Any) -> None:
    shown = show(talk(CUT)).replace("&#34;", '"')
    assert '{"order_id": "1234"}' in shown
    assert "shipped" in shown
    assert "120 ms" in shown


@BOTH
def test_a_failed_tool_one_without_result_and_a_result_without_call_are_told_apart(show: Any) -> None:
    turn = CUT.with_changes(
        tool_calls=(ToolCall(id="1", name="one"), ToolCall(id="2", name="two")),
        tool_results=(
            ToolResult(call_id="1", name="one", value="no such order", is_error=True, error_type="ToolError"),
            ToolResult(call_id="9", name="stray", value="?"),
        ),
    )
    shown = show(talk(turn))
    assert "failed (ToolError), not measured" in shown
    assert "no result" in shown
    assert "stray" in shown


@BOTH
def test_an_error_is_shown_and_an_empty_turn_is_not_invisible(show: Any) -> None:
    assert "openai: refused the key" in show(talk(Turn(role="agent", error="openai: refused the key")))
    assert "(no words)" in show(talk(Turn(role="user")))


@BOTH
def test_the_head_tells_what_is_known_and_what_is_not(show: Any) -> None:
    known = show(
        talk(
            CUT,
            channel="voice",
            started_at=1_767_225_600.0,
            duration_secs=125.0,
            end_reason="end_call",
            ended_by="agent",
            source="simulated",
            platform="elevenlabs",
            analysis=Analysis(success="failure", summary="It went wrong."),
        )
    )
    for part in (
        "conv_1",
        "started 2026-01-01 00:00:00 UTC",
        "took 2 min 5 s",
        "ended: end_call (by agent)",
        "cost $0.00020 (estimate)",
        "simulated",
        "on elevenlabs",
        "judged failure",
        "It went wrong.",
    ):
        assert part in known
    unknown = show(talk(status="in-progress"))
    for part in ("start not known", "duration not measured", "in progress", "cost unknown", "No turns yet."):
        assert part in unknown


@BOTH
def test_a_cost_that_is_partly_known_is_unknown(show: Any) -> None:
    assert "cost unknown (at least $0.00020)" in show(talk(CUT, Turn(role="agent", text="hi", **MODEL)))


@BOTH
def test_a_rich_document_of_the_platform_can_be_shown(show: Any, platform_document: dict[str, Any]) -> None:
    shown = show(conversation_from_wire(platform_document, platform="elevenlabs"))
    assert "not json {" in shown
    assert "heard by scribe_realtime" in shown


def test_html_strikes_through_what_was_not_heard() -> None:
    assert re.search(r"It has shipped<del[^>]*> and arrives tomorrow\.</del>", transcript_html(talk(CUT)))
    assert "[not heard: and arrives tomorrow.]" in transcript_text(talk(CUT))


@pytest.mark.parametrize(
    ("text", "heard", "expected"),
    [
        ("one two", None, ("one two", "")),
        ("one two", "one two", ("one two", "")),
        ("one two", "one", ("one", " two")),
        ("one two", "one…", ("one", " two")),
        ("one two", "", ("", "one two")),
        ("one two", "won too", ("won too", "one two")),
    ],
)
def test_what_was_heard_is_told_from_what_was_generated(
    text: str, heard: str | None, expected: tuple[str, str]
) -> None:
    assert spoken(Turn(role="agent", text=text, text_heard=heard)) == expected


def hostile() -> Conversation:
    tools: dict[str, Any] = {
        "tool_calls": (ToolCall(id=HOSTILE, name=HOSTILE, arguments={HOSTILE: HOSTILE}),),
        "tool_results": (ToolResult(call_id=HOSTILE, name=HOSTILE, value=HOSTILE, is_error=True, error_type=HOSTILE),),
    }
    agent = Turn(
        role="agent",
        text=HOSTILE + HOSTILE,
        text_heard=HOSTILE,
        llm_served=HOSTILE,
        llm_requested=HOSTILE + "2",
        error=HOSTILE,
        marks=(HOSTILE,),
        agent_id=HOSTILE,
        **tools,
    )
    user = Turn(role="user", text=HOSTILE, asr_engine=HOSTILE)
    return Conversation(
        id=HOSTILE,
        agent_id="a",
        agent_name=HOSTILE,
        platform=HOSTILE,
        end_reason=HOSTILE,
        ended_by=HOSTILE,
        analysis=Analysis(summary=HOSTILE),
        turns=(agent, user),
    )


def test_html_escapes_everything_that_came_from_outside_and_has_no_scripts() -> None:
    page = Tags(transcript_html(hostile()))
    assert page.open == []
    allowed = "section div strong code span br table colgroup col tbody tr th td del details summary pre p"
    assert page.tags <= set(allowed.split())
    assert page.attributes <= {"style", "dir", "scope", "aria-label"}


def test_characters_that_move_a_cursor_or_turn_a_line_are_written_out() -> None:
    conversation = talk(Turn(role="user", text="a\x1b[2Jb\u202ec\ud800d\x00e\r\nf"))
    for shown in (transcript_text(conversation), transcript_html(conversation)):
        assert "a\\u001b[2Jb\\u202ec\\ud800d\\u0000e\n" in shown
        shown.encode()


def test_turns_after_the_twentieth_are_folded() -> None:
    turns = [Turn(role="user", text=f"turn {number}!") for number in range(25)]
    html = transcript_html(talk(*turns))
    before, _, after = html.partition("<details>")
    assert "5 more turns" in after
    assert "turn 19!" in before
    assert "turn 20!" in after
    assert "<details" not in transcript_html(talk(*turns[:20]))


def test_a_huge_turn_does_not_fill_the_page() -> None:
    result = ToolResult(call_id="1", name="order_status", value="y" * 1_000_000)
    html = transcript_html(talk(CUT.with_changes(text="x" * 1_000_000, text_heard=None, tool_results=(result,))))
    assert len(html) < 60_000
    assert "(980,000 more characters)" in html


def test_durations_and_dollars_have_as_many_digits_as_they_need() -> None:
    assert [duration(secs) for secs in (None, 0.0004, 0.25, 9.44, 59.99, 125, 7_300)] == [
        "not measured",
        "0.4 ms",
        "250 ms",
        "9.4 s",
        "1 min 0 s",
        "2 min 5 s",
        "2 h 1 min",
    ]
    assert [dollars(amount) for amount in (0, 1e-9, 0.0000012, 0.00021, 0.0123, 0.5, 1234.5)] == [
        "$0.00",
        "under $0.0000001",
        "$0.0000012",
        "$0.00021",
        "$0.0123",
        "$0.50",
        "$1,234.50",
    ]


def test_moments_beyond_the_calendar_are_shown_as_they_are() -> None:
    assert "at 1e+300 s since 1970" in transcript_text(talk(started_at=1e300))


def test_who_speaks_stays_in_its_own_column_of_a_narrow_cell() -> None:
    html = transcript_html(talk(Turn(role="agent", text="Hello."), agent_name="a-name-without-a-place-to-break"))
    cells = re.findall(r"<t[hd][^>]*>", html)
    assert cells
    assert all("overflow-wrap:anywhere" in cell for cell in cells)
