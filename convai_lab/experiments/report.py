"""Report: one page that shows a whole comparison to somebody without a notebook; no scripts, no network."""

from __future__ import annotations

import base64
import contextlib
import io
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from convai_lab.analysis.plots import description
from convai_lab.conversations.transcript_words import clean
from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.results import NOT_KNOWN, as_number
from convai_lab.experiments.flips import flips_of
from convai_lab.experiments.glance import glance_at, shown_flip
from convai_lab.experiments.html import details_html, flips_html, footer_html, head_html, table_html
from convai_lab.experiments.outcomes import outcomes_of
from convai_lab.experiments.plots import drawn

if TYPE_CHECKING:
    from convai_lab.experiments.comparison import Comparison

MOST_FLIPS = 50
"""Flips whose transcripts are in the page; the table of scenarios has all."""
MOST_SCENARIOS = 2_000
MOST_FAILURES = 200
DOTS_PER_INCH = 110
STYLES = (("light", "default"), ("dark", "dark_background"))

PAGE = Markup(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 14px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 1.5rem auto; padding: 0 1rem;
  overflow-wrap: anywhere; }}
h1 {{ font-size: 1.4rem; }} h2 {{ font-size: 1.15rem; margin-top: 2rem; }}
.box {{ border: 1px solid rgba(127,127,127,.35); border-radius: 6px; overflow: hidden; }}
.wide {{ overflow-x: auto; }}
.rows {{ border-collapse: collapse; font-size: 90%; }}
.rows th, .rows td {{ text-align: left; padding: .25rem .9rem .25rem 0; vertical-align: top;
  border-bottom: 1px solid rgba(127,127,127,.35); overflow-wrap: anywhere; }}
.rows thead th {{ white-space: nowrap; overflow-wrap: normal; }}
figure {{ margin: 0 0 1.5rem; }} img {{ max-width: 100%; height: auto; }}
figcaption, .quiet {{ color: #767676; font-size: .9rem; }}
@media (prefers-color-scheme: dark) {{ :root {{ --jp-ui-font-color2: #a0a0a0; }}
  figcaption, .quiet {{ color: #a0a0a0; }} }}
</style></head><body>
<h1>{title}</h1>
{sections}
</body></html>
"""
)


def write_report(comparison: Comparison, path: str | Path, *, title: str = "Comparison") -> Path:
    """Write everything about a comparison into one HTML file; return its path.

    Args:
        path: The file; ``.html`` is added where it has no ending. A file that is there is replaced.
        title: The heading of the page.

    Raises:
        InvalidValueError: It cannot be written there.
    """
    file = Path(path).expanduser().absolute()
    if file.is_dir() or not file.parent.is_dir():
        raise InvalidValueError(f"cannot write {file}: name a file in a folder that exists", field="path")
    file = file if file.suffix else file.with_name(file.name + ".html")
    page = PAGE.format(title=clean(title), sections=Markup("\n").join(_sections(comparison)))
    unfinished = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        unfinished.write_text(page, encoding="utf-8", errors="backslashreplace")
        unfinished.replace(file)
    except OSError as error:
        raise InvalidValueError(f"cannot write {file}: {error.strerror or error}", field="path") from None
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return file


def _sections(comparison: Comparison) -> Iterator[Markup]:
    seen = glance_at(comparison)
    yield Markup('<section class="box">{}{}{}{}</section>').format(
        head_html(seen), table_html(seen), flips_html(comparison, seen), footer_html(seen)
    )
    yield Markup("<h2>Plots</h2>{}").format(Markup("").join(_figure(*one) for one in drawn(comparison)))
    yield _section("Differences", *_differences(comparison))
    yield _all_flips(comparison, already=len(seen.flips))
    yield _section("Scenarios", *_scenarios(comparison))
    yield _section("Trials that count for nobody", *_failures(comparison))


def _section(title: str, heads: tuple[str, ...], rows: list[list[str]], note: str) -> Markup:
    quiet = Markup('<p class="quiet">{}</p>').format(note) if note else Markup("")
    if not rows:
        return Markup("<h2>{}</h2>{}").format(title, quiet)
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in heads)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(clean(cell)) for cell in row))
        for row in rows
    )
    return Markup(
        '<h2>{}</h2>{}<div class="wide" tabindex="0" role="region" aria-label="{}"><table class="rows">'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(title, quiet, title, head, body)


def _differences(comparison: Comparison) -> tuple[tuple[str, ...], list[list[str]], str]:
    from convai_lab.experiments.differences import contests
    from convai_lab.experiments.glance import difference_text, outcome_text

    heads = ("Variant", "Outcome", "Points [95%]", "Pairs", "Could have seen", "Interval", "Test", "Remarks")
    rows = []
    for contest in contests(comparison):
        difference, verdict = contest.difference, contest.verdict
        seen = as_number(verdict.minimum_detectable, is_rate=True)
        rows.append(
            [
                contest.challenger,
                outcome_text(contest) or NOT_KNOWN,
                difference_text(contest),
                f"{difference.n_pairs:,} in {difference.n_scenarios:,} scenarios",
                f"{seen} points or more" if seen != "?" else NOT_KNOWN,
                difference.method,
                difference.test,
                difference.reason or verdict.reason or verdict.caution,
            ]
        )
    return heads, rows, f"Each against {comparison.baseline}." if rows else "There is only one variant."


def _all_flips(comparison: Comparison, *, already: int) -> Markup:
    flips = flips_of(comparison)
    if len(flips) <= already:
        return Markup("")
    shown = flips[already:MOST_FLIPS]
    left = len(flips) - already - len(shown)
    note = Markup('<p class="quiet">{} more are in the table of scenarios.</p>').format(f"{left:,}") if left else ""
    return Markup("<h2>More flips</h2>{}{}").format(
        details_html(comparison, [shown_flip(comparison, flip) for flip in shown]), note
    )


def _scenarios(comparison: Comparison) -> tuple[tuple[str, ...], list[list[str]], str]:
    names = comparison.variant_names
    outcomes = {name: outcomes_of(comparison, name) for name in names}
    rows = [
        [scenario.id, *(_tally(outcomes[name].get(scenario.id, [])) for name in names)]
        for scenario in comparison.scenarios[:MOST_SCENARIOS]
    ]
    left = len(comparison.scenarios) - len(rows)
    note = "Successes of the valid trials of each scenario." + (f" {left:,} more are not shown." if left else "")
    return ("Scenario", *map(clean, names)), rows, note


def _tally(trials: list[tuple[int, float | None]]) -> str:
    values = [value for _, value in trials if value is not None]
    return f"{int(sum(values))} of {len(values)}" if values else NOT_KNOWN


def _failures(comparison: Comparison) -> tuple[tuple[str, ...], list[list[str]], str]:
    failed = [trial for trial in comparison.trials if trial.failed_party is not None]
    rows = [
        [trial.variant, trial.scenario_id, str(trial.trial), str(trial.failed_party), (trial.reason or "")[:500]]
        for trial in failed[:MOST_FAILURES]
    ]
    left = len(failed) - len(rows)
    note = "Every trial that was done counts." if not failed else f"{left:,} more are not shown." if left else ""
    return ("Variant", "Scenario", "Trial", "Failed", "Why"), rows, note


def _figure(name: str, draw: Callable[[], Any]) -> Markup:
    """Return a plot for light and one for dark pages, with its words as alternative text."""
    try:
        images, words = _images(draw)
    except InvalidValueError as nothing:
        return Markup('<p class="quiet">No plot of {}: {}</p>').format(name, clean(str(nothing)))
    return Markup(
        '<figure><picture><source media="(prefers-color-scheme: dark)" srcset="data:image/png;base64,{}">'
        '<img src="data:image/png;base64,{}" alt="{}"></picture><figcaption>{}</figcaption></figure>'
    ).format(images["dark"], images["light"], words, words)


def _images(draw: Callable[[], Any]) -> tuple[dict[str, str], str]:
    from matplotlib import pyplot as plt

    images, words = {}, ""
    for name, style in STYLES:
        with plt.style.context(style):
            ax = draw()
            data = io.BytesIO()
            ax.figure.savefig(data, dpi=DOTS_PER_INCH, transparent=True, metadata={"Software": None})
            plt.close(ax.figure)
        images[name], words = base64.b64encode(data.getvalue()).decode("ascii"), description(ax)
    return images, words
