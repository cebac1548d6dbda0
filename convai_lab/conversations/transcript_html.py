"""Transcript HTML: one row per turn, escaped, without scripts, readable in light and dark and without any styles."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from convai_lab.conversations import transcript_words as words
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn

TURNS_IN_VIEW = 20
TEXT_CHARS = 20_000
SHORT_BADGES = {words.OFFLINE_BADGE: "offline rules"}
"""What a turn says of itself; the head of the transcript says it in full."""

LINE = "var(--jp-border-color2,rgba(127,127,127,.35))"
QUIET = "var(--jp-ui-font-color2,#767676)"
USER = "var(--jp-info-color1,#2f7fd1)"
AGENT = "var(--jp-success-color1,#3a8f4d)"
WRONG = "var(--jp-error-color1,#c0392b)"

_SMALL = f"font-size:85%;color:{QUIET}"
_CELL = "text-align:left;vertical-align:top;white-space:normal;overflow-wrap:anywhere;padding:.45em .8em"
_PRE = (
    "margin:.3em 0;padding:.4em .6em;white-space:pre-wrap;overflow-wrap:anywhere;"
    f"border:1px solid {LINE};border-radius:3px;background:transparent;font-size:90%"
)


def transcript_html(conversation: Conversation) -> str:
    """Return the conversation as HTML for a notebook; turns after the twentieth are folded."""
    c = conversation
    rows = [_row(c, turn, index) for index, turn in enumerate(c.turns)]
    shown, folded = rows[:TURNS_IN_VIEW], rows[TURNS_IN_VIEW:]
    body = _table(shown) if shown else Markup('<p style="padding:0 .8em;{}">No turns yet.</p>').format(_SMALL)
    if folded:
        more = f"{len(folded)} more turn{'s' if len(folded) > 1 else ''}"
        summary = Markup('<summary style="cursor:pointer;padding:.4em .8em">{}</summary>').format(more)
        body += Markup("<details>{}{}</details>").format(summary, _table(folded))
    return str(
        Markup(
            '<section aria-label="Transcript of {id}" style="border:1px solid {line};border-radius:6px;'
            'overflow:hidden;max-width:70em;margin:.3em 0;line-height:1.45">{header}{body}</section>'
        ).format(id=words.clean(c.id), line=LINE, header=_header(c), body=body)
    )


def _header(c: Conversation) -> Markup:
    agent = words.clean(c.agent_name or c.agent_id or "agent")
    ids = words.clean(c.id if not c.agent_name else f"{c.id}, agent {c.agent_id}")
    lines = [
        Markup('<strong>{}</strong> <code style="background:transparent;{}">{}</code>').format(agent, _SMALL, ids),
        Markup('<span style="{}">{}</span>').format(_SMALL, " · ".join(words.facts(c))),
    ]
    if c.analysis.summary:
        lines.append(Markup('<span dir="auto">{}</span>').format(_text(c.analysis.summary)))
    if any(words.is_offline(turn) for turn in c.turns):
        lines.append(_badge(words.OFFLINE_BADGE))
    return Markup('<div style="padding:.55em .8em;border-bottom:1px solid {}">{}</div>').format(
        LINE, Markup("<br>").join(lines)
    )


def _table(rows: Sequence[Markup]) -> Markup:
    return Markup(
        '<table style="width:100%;table-layout:fixed;border-collapse:collapse;margin:0;font-size:inherit">'
        '<colgroup><col style="width:24%"><col><col style="width:19%"></colgroup><tbody>{}</tbody></table>'
    ).format(Markup("").join(rows))


def _row(c: Conversation, turn: Turn, index: int) -> Markup:
    colour = USER if turn.role == "user" else AGENT
    return Markup(
        '<tr style="border-top:{line};background:transparent"><th scope="row" style="{cell};'
        'border-left:4px solid {colour};font-weight:normal">{who}</th>'
        '<td style="{cell}">{said}</td><td style="{cell};{small}">{times}</td></tr>'
    ).format(
        line=f"1px solid {LINE}" if index % TURNS_IN_VIEW or index > TURNS_IN_VIEW else "0",
        cell=_CELL,
        small=_SMALL,
        colour=colour,
        who=_who(c, turn),
        said=_said(turn),
        times=Markup("<br>").join(words.latency(c, turn)),
    )


def _who(c: Conversation, turn: Turn) -> Markup:
    parts = [Markup("<strong>{}</strong>").format(words.speaker(c, turn))]
    small = [part for part in (words.offset(turn.start_secs), words.model(turn), words.recognition(turn)) if part]
    parts += [Markup('<span style="{}">{}</span>').format(_SMALL, part) for part in small]
    parts += [_badge(SHORT_BADGES.get(badge, badge)) for badge in words.badges(turn)]
    return Markup("<br>").join(parts)


def _said(turn: Turn) -> Markup:
    said = words.spoken(turn)
    parts = [_tool(use) for use in words.tool_uses(turn)]
    if said.heard or said.unheard:
        cut = Markup('<del style="opacity:.7">{}</del>').format(_text(said.unheard)) if said.unheard else Markup("")
        parts.append(
            Markup('<div dir="auto" style="white-space:pre-wrap;text-align:start">{}{}</div>').format(
                _text(said.heard), cut
            )
        )
    elif not turn.error:
        parts.append(Markup('<div style="{}">(no words)</div>').format(_SMALL))
    if interrupted := words.interruption(turn):
        parts.append(Markup('<div style="{}">✂ {}</div>').format(_SMALL, interrupted))
    if turn.error:
        parts.append(
            Markup('<div style="color:{}"><strong>⚠ error:</strong> {}</div>').format(WRONG, _text(turn.error))
        )
    return Markup("").join(parts)


def _tool(use: words.ToolUse) -> Markup:
    failed = use.result is not None and use.result.is_error
    parts = (
        [Markup('<div style="{}">arguments</div>{}').format(_SMALL, _pre(words.arguments(use.call)))]
        if use.call
        else []
    )
    if use.result is not None:
        parts.append(
            Markup('<div style="{}">{}</div>{}').format(_SMALL, "error" if failed else "result", _pre(use.result.value))
        )
    return Markup(
        '<details style="margin-bottom:.25em"><summary style="cursor:pointer;{small}">'
        "{sign} tool <code>{name}</code> · {outcome}</summary>{parts}</details>"
    ).format(
        small=_SMALL,
        sign="⚠" if failed else "⚙",
        name=words.clean(use.name),
        outcome=words.clean(use.outcome),
        parts=Markup("").join(parts),
    )


def _pre(text: str) -> Markup:
    return Markup('<pre dir="auto" style="{}">{}</pre>').format(_PRE, _text(text))


def _badge(text: str) -> Markup:
    style = f"display:inline-block;border:1px solid {QUIET};border-radius:3px;padding:0 .35em;font-size:80%"
    return Markup('<span style="{}">{}</span>').format(style, text)


def _text(text: str) -> Markup:
    return escape(words.shortened(words.clean(text), TEXT_CHARS))
