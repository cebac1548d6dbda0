"""Plots: one question each, answered on a matplotlib `Axes` that is returned.

Every plot says in words what it shows: `description(ax)` returns that text, which reports use as the alternative
text of the picture. Sides and states differ by lane, shape or hatching, never by colour alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convai_lab.analysis.dataframes import each_conversation, turns_df
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.errors import InvalidValueError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LANES = {"user": 1, "agent": 0}
LANE_COLOURS = {"user": "#0b7285", "agent": "#5f3dc4"}
LANE_HEIGHT = 0.5
SHORTEST_BAR_SHARE = 0.012
"""A text message has no length; it is drawn as this share of the whole so that it can be seen."""

STAGES = (
    ("endpointing_ms", "endpointing", "#868e96", ""),
    ("asr_ms", "speech recognition", "#1098ad", "//"),
    ("llm_ttft_ms", "model: first token", "#5f3dc4", ""),
    ("first_sentence_ms", "model: first sentence", "#b197fc", "xx"),
    ("tts_ttfb_ms", "voice: first byte", "#e8590c", "\\\\"),
    ("playout_ms", "playout", "#ffc078", "--"),
    ("transport_ms", "transport, both ways", "#2f9e44", "||"),
    ("unexplained_ms", "unexplained", "#ffffff", ".."),
)
"""The stages of the waterfall: column, name, colour and hatching."""

LATENCIES = (
    ("voice_to_voice_ms", "voice to voice", "o"),
    ("llm_ttft_ms", "model: first token", "s"),
    ("total_ms", "end of the reply's text", "^"),
)
"""What `plot_latency` draws where it was measured: column, name and marker."""


def plot_timeline(conversation: Conversation, *, ax: Axes | None = None) -> Axes:
    """Show who spoke when: one lane a side, with overlaps, tool calls and interruptions.

    Args:
        conversation: One conversation.
        ax: Where to draw; a new figure when absent.

    Raises:
        InvalidValueError: Not exactly one conversation, or none of its turns has a time.
    """
    one = _only(conversation)
    timed = [turn for turn in one.turns if turn.start_secs is not None]
    if not timed:
        raise InvalidValueError("no turn has a time, so there is nothing to place on a timeline", field=one.id)
    ax = ax or _new_axes(height=2.2)
    whole = max(turn.end_secs or turn.start_secs or 0.0 for turn in timed) - (timed[0].start_secs or 0.0)
    for turn in timed:
        _draw_turn(ax, turn, shortest_secs=whole * SHORTEST_BAR_SHARE)
    ax.set_yticks(list(LANES.values()), list(LANES))
    ax.set_ylim(-0.6, 1.9)
    ax.set_xlabel("time from the start (seconds)")
    ax.set_title(f"Who spoke when: {one.agent_name or one.agent_id}", loc="left")
    _legend(ax)
    return _describe(ax, _timeline_in_words(one, timed))


def plot_latency(conversations: Any, *, ax: Axes | None = None) -> Axes:
    """Show how long each reply took, with the median and the 95th percentile.

    Args:
        conversations: A table of turns (`turns_df`), or conversations.
        ax: Where to draw; a new figure when absent.

    Raises:
        InvalidValueError: No latency was measured.
    """
    from matplotlib.ticker import MaxNLocator

    turns = _agent_turns(conversations)
    drawn = [(column, name, marker) for column, name, marker in LATENCIES if turns[column].notna().any()]
    if not drawn:
        raise InvalidValueError("no reply has a measured latency", field="conversations")
    ax = ax or _new_axes(height=3.2)
    words = []
    for column, name, marker in drawn:
        words.append(_draw_latency(ax, turns[column].reset_index(drop=True), name, marker))
    if turns["voice_to_voice_ms"].isna().all():
        words.append("These are text turns: voice-to-voice latency was not measured.")
        ax.set_title("text: no voice latency", loc="right", fontsize=9)
    ax.set_xlabel("reply")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel("latency (ms)")
    ax.set_ylim(bottom=0)
    ax.set_title("How long did each reply take?", loc="left")
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _describe(ax, " ".join(words))


def plot_waterfall(conversation: Any, *, ax: Axes | None = None) -> Axes:
    """Show where the latency of each reply went, stage by stage, with what no stage explains.

    Text replies have one measured stage, the model; the others are said to be not measured.

    Args:
        conversation: One conversation, several, or a table of turns.
        ax: Where to draw; a new figure when absent.

    Raises:
        InvalidValueError: No stage of any reply was measured.
    """
    turns = _agent_turns(conversation)
    columns = [column for column, *_ in STAGES]
    turns = turns[turns[columns].notna().any(axis=1)]
    if turns.empty:
        raise InvalidValueError("no stage of any reply was measured", field="conversation")
    ax = ax or _new_axes(height=max(1.6, 0.42 * len(turns) + 1.0))
    left = [0.0] * len(turns)
    positions = list(range(len(turns)))[::-1]
    for column, name, colour, hatch in STAGES:
        widths = [float(value) for value in turns[column].fillna(0.0)]
        if any(widths):
            ax.barh(
                positions, widths, left=left, label=name, color=colour, hatch=hatch, edgecolor="#343a40", height=0.6
            )
        left = [start + width for start, width in zip(left, widths, strict=True)]
    ax.set_yticks(positions, [f"turn {index}" for index in turns["turn_index"]])
    ax.set_xlabel("latency (ms)")
    ax.set_title("Where did the latency go?", loc="left")
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _describe(ax, _waterfall_in_words(turns))


def description(ax: Axes) -> str:
    """Return in words what a plot of this module shows."""
    return str(ax.figure.get_label())


def _only(conversation: Any) -> Conversation:
    found = list(each_conversation(conversation))
    if len(found) != 1:
        raise InvalidValueError(f"expected one conversation, got {len(found)}", field="conversation")
    return found[0]


def _agent_turns(given: Any) -> pd.DataFrame:
    import pandas as pd

    turns = given if isinstance(given, pd.DataFrame) else turns_df(given)
    if missing := {"role", "turn_index", "voice_to_voice_ms"} - set(turns.columns):
        raise InvalidValueError(f"this is not a table of turns: it lacks {', '.join(sorted(missing))}", field="turns")
    return turns[turns["role"] == "agent"]


def _new_axes(*, height: float) -> Axes:
    from matplotlib import pyplot as plt

    _, ax = plt.subplots(figsize=(9, height), layout="constrained")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def _draw_turn(ax: Axes, turn: Turn, *, shortest_secs: float) -> None:
    assert turn.start_secs is not None
    lane, colour = LANES[turn.role], LANE_COLOURS[turn.role]
    length = max((turn.end_secs or turn.start_secs) - turn.start_secs, shortest_secs)
    ax.broken_barh(
        [(turn.start_secs, length)],
        (lane - LANE_HEIGHT / 2, LANE_HEIGHT),
        facecolors=colour,
        hatch="//" if turn.role == "user" else "",
        edgecolor="white",
    )
    if turn.tool_calls:
        ax.plot(turn.start_secs, lane + 0.42, "v", color="#e8590c", markersize=7, label="tool call", clip_on=False)
    if turn.interrupted:
        at = turn.interrupted_at_secs or turn.start_secs + length
        ax.plot(at, lane + 0.42, "x", color="#c92a2a", markersize=8, mew=2, label="interrupted", clip_on=False)


def _legend(ax: Axes) -> None:
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        ax.legend(
            unique.values(), unique.keys(), frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0)
        )


def _draw_latency(ax: Axes, values: pd.Series[Any], name: str, marker: str) -> str:
    import numpy as np

    measured = values.dropna().astype(float)
    p50, p95 = (float(p) for p in np.percentile(measured, [50, 95]))
    (line,) = ax.plot(
        measured.index, measured, marker, label=f"{name}\np50 {p50:,.0f}, p95 {p95:,.0f}, n {len(measured)}"
    )
    ax.axhline(p50, color=line.get_color(), linewidth=1)
    ax.axhline(p95, color=line.get_color(), linewidth=1, linestyle="--")
    return f"{name}: median {p50:,.0f} ms, 95th percentile {p95:,.0f} ms over {len(measured)} replies."


def _timeline_in_words(conversation: Conversation, timed: list[Turn]) -> str:
    last = max(turn.end_secs or turn.start_secs or 0.0 for turn in timed)
    cut = sum(turn.interrupted for turn in timed)
    calls = sum(len(turn.tool_calls) for turn in timed)
    return (
        f"Timeline of conversation {conversation.id}: {len(timed)} turns in {last:.3g} seconds, "
        f"{calls} tool calls, {cut} interrupted."
    )


def _waterfall_in_words(turns: pd.DataFrame) -> str:
    parts = []
    for column, name, *_ in STAGES:
        measured = turns[column].dropna()
        parts.append(f"{name} median {float(measured.median()):,.0f} ms" if len(measured) else f"{name} not measured")
    return f"Latency of {len(turns)} replies: {', '.join(parts)}."


def _describe(ax: Axes, text: str) -> Axes:
    ax.figure.set_label(text)
    return ax
