"""HTML of a comparison: the sentence, the table, the top flips and the footer, without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from convai_lab.conversations.transcript_html import LINE, QUIET, SHORT_BADGES
from convai_lab.experiments.glance import Glance, Row, ShownFlip, glance_at
from convai_lab.experiments.side_by_side import side_by_side

if TYPE_CHECKING:
    from convai_lab.experiments.comparison import Comparison

TEXT = "var(--jp-ui-font-color1,inherit)"
SOFT = "rgba(127,127,127,.09)"
_SMALL = f"font-size:85%;color:{QUIET}"
_CELL = "padding:.4em .55em;vertical-align:top;white-space:nowrap"
_LEFT, _RIGHT = f"{_CELL};text-align:left", f"{_CELL};text-align:right;font-variant-numeric:tabular-nums"
_BADGE = (
    f"display:inline-block;border:1px solid {QUIET};border-radius:3px;padding:0 .35em;font-size:80%;font-weight:normal"
)


def comparison_html(comparison: Comparison) -> str:
    """Return what a notebook shows of a comparison."""
    seen = glance_at(comparison)
    return str(
        Markup(
            '<section aria-label="Comparison" style="border:1px solid {line};border-radius:6px;overflow:hidden;'
            'max-width:80em;margin:.3em 0;line-height:1.45;color:{text}">{head}{table}{flips}{footer}</section>'
        ).format(
            line=LINE, text=TEXT, head=head_html(seen), table=table_html(seen), flips=flips_html(comparison, seen),
            footer=footer_html(seen),
        )
    )  # fmt: skip


def head_html(seen: Glance) -> Markup:
    """Return the sentence, with the badge of offline runs."""
    badge = Markup('<div style="margin-top:.35em">{}</div>').format(badge_html(seen.badge)) if seen.badge else ""
    return Markup('<div style="padding:.7em .8em"><strong style="font-size:115%">{}</strong>{}</div>').format(
        seen.sentence, badge
    )


def badge_html(text: str) -> Markup:
    """Return a text with a border around it."""
    return Markup('<span style="{}">{}</span>').format(_BADGE, text)


def table_html(seen: Glance) -> Markup:
    """Return the leaderboard; it scrolls sideways where there is no room."""
    rows = Markup("").join(_row(row, has_k=seen.k is not None) for row in seen.rows)
    return Markup(
        '<div tabindex="0" role="region" aria-label="Leaderboard" style="overflow-x:auto;border-top:1px solid {line}">'
        '<table style="border-collapse:collapse;table-layout:auto;margin:0;width:100%;font-size:inherit">'
        "<thead>{head}</thead><tbody>{rows}</tbody></table></div>"
    ).format(line=LINE, head=_heads(seen), rows=rows)


def _heads(seen: Glance) -> Markup:
    k = seen.k
    heads = [("Variant", ""), ("Success", "95% interval"), ("To the baseline", "points, 95%")]
    heads += [(f"pass^{k}", f"pass@{k}")] if k is not None else []
    heads += [(seen.latency_label, "p50 / p95"), ("Cost", "a conversation")]
    heads += [("Valid trials", "others' failures")]
    cells = (
        Markup('<th scope="col" style="{}">{}<br><span style="{};font-weight:normal">{}</span></th>').format(
            _RIGHT if at else _LEFT, name, _SMALL, more
        )
        for at, (name, more) in enumerate(heads)
    )
    return Markup('<tr style="background:transparent">{}</tr>').format(Markup("").join(cells))


def _row(row: Row, *, has_k: bool) -> Markup:
    marks = [Markup("<br>") + badge_html(SHORT_BADGES.get(mark, mark)) for mark in row.marks]
    model = Markup('<br><span style="{}">{}</span>').format(_SMALL, row.model) if row.model else Markup("")
    name = Markup(
        '<th scope="row" style="{}"><bdi style="display:inline-block;min-width:7.5em;max-width:22em;white-space:normal;'
        'overflow-wrap:anywhere">{}</bdi>{}{}</th>'
    ).format(_LEFT, row.name, model, Markup("").join(marks))
    cells = [(row.success, ""), ("—" if row.difference == "baseline" else row.difference, row.outcome)]
    cells += [(row.every, row.once)] if has_k else []
    cells += [(row.latency, row.replies), (row.cost, _per_success(row)), (row.valid, row.failed)]
    return Markup('<tr style="background:transparent;border-top:1px solid {}">{}{}</tr>').format(
        LINE, name, Markup("").join(_cell(*cell) for cell in cells)
    )


def _per_success(row: Row) -> str:
    return row.cost_per_success if row.cost_per_success == "no success" else f"{row.cost_per_success} a success"


def _cell(text: str, more: str) -> Markup:
    below = Markup('<br><span style="{}">{}</span>').format(_SMALL, more) if more else Markup("")
    return Markup('<td style="{}">{}{}</td>').format(_RIGHT, text, below)


def flips_html(comparison: Comparison, seen: Glance) -> Markup:
    """Return the top flips, each with both transcripts folded below it."""
    if not seen.flips:
        return Markup("")
    more = f"the {len(seen.flips)} largest of {seen.n_flips:,}" if seen.n_flips > len(seen.flips) else "all"
    head = Markup('<strong>Flips</strong> <span style="{}">{}; open one to read both conversations</span>').format(
        _SMALL, more
    )
    return Markup('<div style="padding:.6em .8em;border-top:1px solid {}">{}{}</div>').format(
        LINE, head, details_html(comparison, seen.flips)
    )


def details_html(comparison: Comparison, flips: Sequence[ShownFlip]) -> Markup:
    """Return flips, each with both transcripts side by side inside a fold."""
    return Markup("").join(
        Markup(
            '<details style="margin-top:.35em"><summary style="cursor:pointer;overflow-wrap:anywhere">'
            '<bdi>{scenario}</bdi> <span style="{small}">{sign} {title}{reason}</span></summary>{both}</details>'
        ).format(
            sign=_SIGNS[shown.flip.direction],
            scenario=shown.scenario,
            small=_SMALL,
            title=shown.title,
            reason=f"; {shown.reason}" if shown.reason else "",
            both=side_by_side(comparison, shown.flip),
        )
        for shown in flips
    )


_SIGNS = {"gained": "▲", "lost": "▼", "mixed": "◆"}


def footer_html(seen: Glance) -> Markup:
    """Return what a reader needs to believe it, and to repeat it."""
    notes = Markup("").join(
        Markup('<div style="color:{};overflow-wrap:anywhere"><strong>Note:</strong> {}</div>').format(TEXT, note)
        for note in seen.notes
    )
    facts = Markup("").join(
        Markup('<div style="overflow-wrap:anywhere"><strong style="font-weight:600">{}:</strong> {}</div>').format(
            label, text
        )
        for label, text in seen.footer
    )
    return Markup('<div style="padding:.6em .8em;border-top:1px solid {};background:{};{}">{}{}</div>').format(
        LINE, SOFT, _SMALL, notes, facts
    )
