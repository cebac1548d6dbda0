"""Summary: a comparison as plain text, aligned, for terminals and issues, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from unicodedata import combining, east_asian_width

from convai_lab.experiments.glance import Glance, Row, glance_at

if TYPE_CHECKING:
    from convai_lab.experiments.comparison import Comparison

WIDTH = 100
NAME_WIDTH = 24
GAP = "  "
LABEL_WIDTH = 14


def comparison_text(comparison: Comparison) -> str:
    """Return the sentence, the tables, the top flips and the footer."""
    seen = glance_at(comparison)
    blocks = [
        _wrapped(f"[{seen.badge}]") if seen.badge else "",
        _wrapped(seen.sentence),
        aligned(_quality(seen)),
        aligned(_upkeep(seen)),
        "\n".join(_flips(seen)),
        "\n".join(_footer(seen)),
    ]
    return "\n\n".join(block for block in blocks if block)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of texts as a table, the heads in the first row; what is too wide goes into further tables.

    The first column stands to the left and comes again in every table, all others to the right; columns without a
    value are left out.
    """
    kept = [at for at in range(1, len(rows[0])) if any(row[at] for row in rows[1:])]
    widths = [max(_width(line) for row in rows for line in row[at].split("\n")) for at in range(len(rows[0]))]
    tables: list[list[int]] = [[0]]
    for at in kept:
        if sum(widths[column] + len(GAP) for column in tables[-1]) + widths[at] > WIDTH and len(tables[-1]) > 1:
            tables.append([0])
        tables[-1].append(at)
    return "\n\n".join(_table(rows, columns, widths) for columns in tables)


def _table(rows: Sequence[Sequence[str]], columns: Sequence[int], widths: Sequence[int]) -> str:
    heads = [rows[0][at].split("\n") for at in columns]
    tall = max(map(len, heads))
    lines = [[*[""] * (tall - len(head)), *head] for head in heads]
    head_rows = [[line[at] for line in lines] for at in range(tall)]
    own = [widths[at] for at in columns]
    body = [[row[at] for at in columns] for row in rows[1:]]
    rule = "-" * (sum(own) + len(GAP) * (len(own) - 1))
    return "\n".join([*(_line(row, own) for row in head_rows), rule, *(_line(row, own) for row in body)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0] + " " * (widths[0] - _width(cells[0]))
    rest = [" " * (width - _width(cell)) + cell for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return GAP.join([first, *rest]).rstrip()


def _quality(seen: Glance) -> list[list[str]]:
    k = seen.k or ""
    head = ["Variant", "Success\n[95%]", "Points\n[95%]", "Outcome", f"pass^{k}", f"pass@{k}"]
    return [head, *([_name(row), row.success, row.difference, row.outcome, row.every, row.once] for row in seen.rows)]


def _upkeep(seen: Glance) -> list[list[str]]:
    head = ["Variant", f"{seen.latency_label}\np50 / p95", "Replies", "Cost per\nconversation", "Cost per\nsuccess"]
    return [[*head, "Valid\ntrials", "Others'\nfailures"], *(_upkeep_row(row) for row in seen.rows)]


def _upkeep_row(row: Row) -> list[str]:
    replies = row.replies.partition(" ")[0]
    return [_name(row), row.latency, replies, row.cost, row.cost_per_success, row.valid, row.failed]


def _name(row: Row) -> str:
    return _shortened(row.name, NAME_WIDTH)


def _flips(seen: Glance) -> Iterator[str]:
    if not seen.flips:
        return
    yield f"Flips ({len(seen.flips)} of {seen.n_flips:,}; .flips() has all):"
    for shown in seen.flips:
        flip = shown.flip
        yield _wrapped(f"{shown.scenario}, {shown.title}", indent="  ")
        if shown.reason:
            yield _wrapped(shown.reason, indent="    ")
        yield f"    .conversation({flip.variant!r}, {flip.scenario!r}, {flip.trial})"


def _footer(seen: Glance) -> Iterator[str]:
    for label, text in seen.footer:
        yield _wrapped(f"{label + ':':<{LABEL_WIDTH}}{text}", hanging=" " * LABEL_WIDTH)
    for note in seen.notes:
        yield _wrapped(f"{'Note:':<{LABEL_WIDTH}}{note}", hanging=" " * LABEL_WIDTH)


def _wrapped(text: str, *, indent: str = "", hanging: str | None = None) -> str:
    """Return a text in lines that fit, also where characters are two columns wide."""
    later = indent if hanging is None else hanging
    lines = [indent]
    for word in _words(text, WIDTH - max(len(indent), len(later))):
        gap = " " if lines[-1].strip() else ""
        if gap and _width(lines[-1]) + 1 + _width(word) > WIDTH:
            lines.append(later)
            gap = ""
        lines[-1] += gap + word
    return "\n".join(lines)


def _words(text: str, most: int) -> Iterator[str]:
    """Yield the words of a text; one that is wider than a line comes in pieces."""
    for word in text.split(" "):
        while _width(word) > most:
            fits = next(at for at in range(len(word), 0, -1) if _width(word[:at]) <= most)
            yield word[:fits]
            word = word[fits:]
        yield word


def _shortened(text: str, width: int) -> str:
    while _width(text) > width:
        text = text[:-2] + "…"
    return text


def _width(text: str) -> int:
    """Return how many columns a terminal needs for a text."""
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)
