"""Side by side: what did two variants say in the same scenario?

Both transcripts are read from where they are kept when they are shown, and cut where they are huge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from convai_lab.conversations import transcript_words as words
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.transcript_html import AGENT, LINE, QUIET, USER, WRONG
from convai_lab.conversations.turn import Turn
from convai_lab.errors import ConvaiLabError
from convai_lab.experiments.flips import Flip, both

if TYPE_CHECKING:
    from convai_lab.experiments.comparison import Comparison
    from convai_lab.experiments.trial import TrialResult

TURNS_SHOWN = 24
TEXT_CHARS = 1_500
TOOL_CHARS = 400
_SMALL = f"font-size:85%;color:{QUIET}"


def side_by_side(comparison: Comparison, flip: Flip) -> Markup:
    """Return both transcripts of a flip in two columns; one below the other where there is no room."""
    other, base = both(comparison, flip)
    return Markup('<div style="display:flex;flex-wrap:wrap;gap:.8em;margin:.5em 0 .9em">{}{}</div>').format(
        _column(comparison, base), _column(comparison, other)
    )


def _column(comparison: Comparison, trial: TrialResult) -> Markup:
    came = "succeeded" if trial.success else "failed" if trial.success is False else "not graded"
    sign = "✓" if trial.success else "✗"
    why = [f"✗ {check.name}" for check in trial.checks if not check.passed]
    why += [f"✗ {name}: {result.value}" for name, result in trial.criteria.items() if result.value != "success"]
    return Markup(
        '<div style="flex:1 1 20em;min-width:0;border:1px solid {line};border-radius:6px;overflow:hidden">'
        '<div style="padding:.4em .7em;border-bottom:1px solid {line};overflow-wrap:anywhere">{sign} '
        '<strong><bdi>{name}</bdi></strong> {came} <span style="{small}">trial {number}</span>{why}</div>'
        '<div style="padding:.2em .7em .5em">{said}</div></div>'
    ).format(
        line=LINE,
        sign=sign,
        name=words.clean(trial.variant),
        came=came,
        small=_SMALL,
        number=trial.trial,
        why=Markup("").join(Markup('<div style="{}">{}</div>').format(_SMALL, _short(reason)) for reason in why),
        said=_said(comparison, trial),
    )


def _said(comparison: Comparison, trial: TrialResult) -> Markup:
    try:
        conversation = comparison.conversation(*trial.id)
    except ConvaiLabError as error:
        return Markup('<p style="{}">{}</p>').format(_SMALL, words.clean(str(error)))
    turns = [_turn(conversation, turn) for turn in conversation.turns[:TURNS_SHOWN]]
    left = len(conversation.turns) - len(turns)
    if left > 0 or not turns:
        open_it = f".conversation({trial.variant!r}, {trial.scenario_id!r}, {trial.trial})"
        more = f"{left} more turns: {open_it}" if left > 0 else "No turns."
        turns.append(Markup('<p style="{}">{}</p>').format(_SMALL, words.clean(more)))
    return Markup("").join(turns)


def _turn(conversation: Conversation, turn: Turn) -> Markup:
    said = words.spoken(turn)
    parts: Sequence[Markup] = [
        *map(_tool, words.tool_uses(turn)),
        Markup("{}").format(_short(said.heard)) if said.heard else Markup(""),
        Markup('<del style="opacity:.7">{}</del>').format(_short(said.unheard)) if said.unheard else Markup(""),
        Markup('<div style="color:{}"><strong>⚠ error:</strong> {}</div>').format(WRONG, _short(turn.error))
        if turn.error
        else Markup(""),
    ]
    return Markup(
        '<div style="margin-top:.45em;padding-left:.6em;border-left:3px solid {colour};overflow-wrap:anywhere">'
        '<span style="{small}">{who}</span><div dir="auto" style="white-space:pre-wrap;text-align:start">{said}</div>'
        "</div>"
    ).format(
        colour=USER if turn.role == "user" else AGENT,
        small=_SMALL,
        who="user" if turn.role == "user" else _agent(conversation, turn),
        said=Markup("").join(parts) or Markup('<span style="{}">(no words)</span>').format(_SMALL),
    )


def _agent(conversation: Conversation, turn: Turn) -> str:
    marks = [badge for badge in words.badges(turn) if badge != words.OFFLINE_BADGE]
    if words.is_offline(turn):
        return " · ".join(["agent", "offline rules", *marks])  # times without a model mean nothing
    return " · ".join(["agent", *words.latency(conversation, turn), *marks])


def _tool(use: words.ToolUse) -> Markup:
    asked = words.arguments(use.call) if use.call else "no call"
    answer = f" → {words.clean(use.result.value)}" if use.result is not None else " → no result"
    failed = "⚠" if use.result is not None and use.result.is_error else "⚙"
    return Markup('<div style="{}">{} tool <code style="background:transparent">{}</code> {}{}</div>').format(
        _SMALL, failed, words.clean(use.name), words.shortened(asked, TOOL_CHARS), words.shortened(answer, TOOL_CHARS)
    )


def _short(text: str) -> str:
    return words.shortened(words.clean(text), TEXT_CHARS)
