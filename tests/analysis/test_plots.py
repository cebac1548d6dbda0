from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import pytest

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from convai_lab.analysis.dataframes import turns_df
from convai_lab.analysis.plots import description, plot_latency, plot_timeline, plot_waterfall
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall, Turn, TurnMetrics
from convai_lab.errors import InvalidValueError


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def _voice() -> Conversation:
    metrics = TurnMetrics(
        endpointing_ms=400,
        asr_ms=50,
        llm_ttft_ms=100,
        first_sentence_ms=90,
        tts_ttfb_ms=80,
        playout_ms=10,
        transport_ms=120,
        voice_to_voice_ms=880,
        unexplained_ms=30,
    )
    turns = (
        Turn(role="user", text="Hi", start_secs=0.0, end_secs=1.0),
        Turn(
            role="agent",
            text="Hello",
            start_secs=1.8,
            end_secs=3.0,
            interrupted=True,
            interrupted_at_secs=3.0,
            tool_calls=(ToolCall(id="1", name="t"),),
            metrics=metrics,
        ),
    )
    return Conversation(id="conv_1", agent_id="a", agent_name="support", channel="voice", turns=turns)


def _text() -> Conversation:
    reply = Turn(
        role="agent", text="Hello", start_secs=0.1, end_secs=0.2, metrics=TurnMetrics(llm_ttft_ms=12, total_ms=90)
    )
    return Conversation(
        id="conv_2", agent_id="a", turns=(Turn(role="user", text="Hi", start_secs=0, end_secs=0), reply)
    )


@pytest.mark.parametrize("plot", [plot_timeline, plot_latency, plot_waterfall])
def test_a_plot_returns_its_axes_with_a_unit_and_a_text_alternative(plot) -> None:  # type: ignore[no-untyped-def]
    ax = plot(_voice())
    assert isinstance(ax, Axes)
    assert any(unit in ax.get_xlabel() + ax.get_ylabel() for unit in ("(seconds)", "(ms)"))
    assert len(description(ax)) > 20


def test_a_plot_draws_where_it_is_told() -> None:
    _, ax = plt.subplots()
    assert plot_timeline(_voice(), ax=ax) is ax


def test_the_timeline_counts_what_it_shows() -> None:
    assert "2 turns in 3 seconds, 1 tool calls, 1 interrupted" in description(plot_timeline(_voice()))


def test_a_text_conversation_is_said_to_have_no_voice_latency() -> None:
    ax = plot_latency(_text())
    assert "voice-to-voice latency was not measured" in description(ax)
    assert ax.get_title(loc="right") == "text: no voice latency"


def test_stages_that_were_not_measured_are_named_as_such() -> None:
    assert "endpointing not measured" in description(plot_waterfall(_text()))


def test_the_stages_of_the_waterfall_add_up_to_the_latency() -> None:
    ax = plot_waterfall(_voice())
    assert sum(bar.get_width() for bar in ax.patches) == pytest.approx(880)


def test_latency_takes_a_table_of_turns_too() -> None:
    assert description(plot_latency(turns_df([_voice(), _voice()]))).count("over 2 replies") == 2


@pytest.mark.parametrize("plot", [plot_timeline, plot_latency, plot_waterfall])
def test_nothing_measured_is_one_sentence(plot) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidValueError):
        plot(Conversation(id="conv_3", agent_id="a"))


def test_another_table_is_refused_in_words() -> None:
    with pytest.raises(InvalidValueError, match="not a table of turns"):
        plot_latency(turns_df([]).drop(columns=["role"]))
