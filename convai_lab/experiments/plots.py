"""Plots of a comparison: how large are the differences, where do they come from, and what do they cost?

Each returns its matplotlib `Axes` and says in words what it shows: `convai_lab.analysis.plots.description(ax)` gives
that text. Ink follows the style in use, so that a dark style gives a dark plot; variants and outcomes differ by
shape and words, never by colour alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from convai_lab.conversations.cost import dollars
from convai_lab.conversations.transcript_words import clean
from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.paired import pair_outcomes
from convai_lab.evaluation.results import Estimate, counted
from convai_lab.experiments.differences import Contest, contests
from convai_lab.experiments.glance import LATENCIES, difference_text, outcome_text
from convai_lab.experiments.leaderboard import costs_of, latency_of, success_of
from convai_lab.experiments.outcomes import outcomes_of, valid_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from convai_lab.experiments.comparison import Comparison

BETTER, WORSE, NEITHER = "#2b8a3e", "#d9480f", "#868e96"
"""Readable on white and on black."""
OUTCOMES = {"better": ("^", BETTER), "worse": ("v", WORSE), "tied": ("o", NEITHER)}
MARKERS = "osD^vP*Xhp"
VARIANT_COLOURS = ("#1c7ed6", "#e8590c", "#2f9e44", "#ae3ec9", "#1098ad", "#e03131")
NAME_CHARS = 28


def plot_forest(comparison: Comparison, *, ax: Axes | None = None) -> Axes:
    """Show each challenger's difference to the baseline with its 95% interval, in points.

    Raises:
        InvalidValueError: There is no difference to show.
    """
    found = [contest for contest in contests(comparison) if not isnan(contest.difference.estimate)]
    if not found:
        raise InvalidValueError("no variant has a pair of valid trials with the baseline", field="comparison")
    ax = ax or _new_axes(height=1.3 + 0.5 * len(found))
    ax.axvline(0, color=_ink(), linewidth=1, linestyle=":")
    for place, contest in enumerate(reversed(found)):
        _draw_difference(ax, contest, place)
    ax.set_yticks(range(len(found)), [_short(contest.challenger) for contest in reversed(found)])
    ax.set_ylim(-0.6, len(found) - 0.2)
    ax.set_xlabel(f"difference in success to {_short(comparison.baseline)} (percentage points, 95% interval)")
    ax.set_title("Which variant is better?", loc="left")
    return _describe(ax, f"Differences to {comparison.baseline}. " + " ".join(map(_difference_in_words, found)))


def plot_flips(comparison: Comparison, *, variant: str | None = None, ax: Axes | None = None) -> Axes:
    """Show the success rate of each scenario with the baseline and with a challenger, joined by a line.

    Solid lines gained, dashed ones lost; a number says how many scenarios share a line.

    Args:
        variant: The challenger; the one that the verdict is about when absent.
        ax: Where to draw; a new figure when absent.

    Raises:
        InvalidValueError: There is no such challenger, or no pair of valid trials.
    """
    name = variant or comparison.verdict.about or ""
    if name not in comparison.challengers:
        raise InvalidValueError(
            f"{name!r} is no challenger; they are {', '.join(comparison.challengers) or 'none'}", field="variant"
        )
    slopes = _slopes(comparison, name)
    if not slopes:
        raise InvalidValueError(f"no pair of valid trials of {name} and {comparison.baseline}", field="comparison")
    ax = ax or _new_axes(height=4.2, width=6.5)
    for slope, count in sorted(slopes.items(), key=lambda item: item[0].direction == "same", reverse=True):
        _draw_slope(ax, slope, count)
    ax.set_xticks([0, 1], [_short(comparison.baseline), _short(name)])
    ax.set_xlim(-0.25, 1.25)
    ax.set_ylim(-6, 106)
    ax.set_ylabel("success of a scenario (% of its trials)")
    ax.set_title("Where does it matter which one answers?", loc="left")
    counts = Counter[str]()
    for slope, count in slopes.items():
        counts[slope.direction] += count
    _slope_legend(ax, counts)
    return _describe(
        ax,
        f"Success of {counted(sum(counts.values()), 'scenario')} with {comparison.baseline} and with {name}: "
        f"{counts['gained']} gained, {counts['lost']} lost, {counts['same']} the same.",
    )


def plot_quality(
    comparison: Comparison, *, against: Literal["latency", "cost"] = "latency", ax: Axes | None = None
) -> Axes:
    """Show success against latency (median, with a line to the 95th percentile) or cost of a conversation.

    Raises:
        InvalidValueError: Nothing of it was measured.
    """
    if against not in ("latency", "cost"):
        raise InvalidValueError(f"must be 'latency' or 'cost', got {against!r}", field="against")
    find = _latency_point if against == "latency" else _cost_point
    points = [point for name in comparison.variant_names if (point := find(comparison, name)) is not None]
    if not points:
        nothing = "no latency was measured (time is virtual without a language model)"
        raise InvalidValueError(nothing if against == "latency" else "no cost is known", field="comparison")
    ax = ax or _new_axes(height=3.6, width=7.5)
    places = {name: place for place, name in enumerate(comparison.variant_names)}
    for point in points:
        _draw_point(ax, point, places[point.name])
    ax.set_ylabel("success (%, 95% interval)")
    ax.set_ylim(-4, 104)
    ax.set_xlim(left=0)
    label = LATENCIES.get(comparison.facts.mode, LATENCIES["text"])[1].lower()
    labels = {"latency": f"{label} (ms; median, line to the 95th percentile)", "cost": "cost of a conversation (USD)"}
    ax.set_xlabel(labels[against])
    ax.set_title(f"What does quality cost in {'time' if against == 'latency' else 'money'}?", loc="left")
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    left_out = [name for name in comparison.variant_names if name not in {point.name for point in points}]
    missing = f" Not known of {', '.join(left_out)}." if left_out else ""
    return _describe(ax, f"Success against {against}. {' '.join(point.words for point in points)}{missing}")


class _Slope(NamedTuple):
    """The success rates of a scenario under both variants."""

    baseline: float
    other: float

    @property
    def direction(self) -> str:
        """Say which way it went."""
        return "gained" if self.other > self.baseline else "lost" if self.other < self.baseline else "same"


class _Point(NamedTuple):
    """One variant in a plot of success against something."""

    name: str
    rate: Estimate
    x: float
    to: float
    words: str


_SLOPE_STYLES = {"gained": ("-", BETTER, 0.3), "lost": ("--", WORSE, 0.7), "same": (":", NEITHER, 0.5)}
"""The line, its colour, and where along it stands how many share it."""


def _draw_difference(ax: Axes, contest: Contest, place: int) -> None:
    difference, outcome = contest.difference, contest.verdict.outcome
    marker, colour = OUTCOMES.get(outcome, ("o", NEITHER))
    at = 100 * difference.estimate
    if not isnan(difference.low):
        ends = [100 * difference.low, 100 * difference.high]
        ax.plot(ends, [place, place], color=colour, linewidth=2.5, solid_capstyle="butt")
        ax.plot(ends, [place, place], "|", color=colour, markersize=9, markeredgewidth=2)
    ax.plot(at, place, marker, color=colour, markersize=9)
    ax.annotate(_in_points(contest), (at, place), xytext=(0, 9), textcoords="offset points", ha="center", fontsize=9)


def _difference_in_words(contest: Contest) -> str:
    return f"{contest.challenger}: {_in_points(contest)}."


def _in_points(contest: Contest) -> str:
    return f"{difference_text(contest)} points, {outcome_text(contest)}"


def _slopes(comparison: Comparison, name: str) -> Counter[_Slope]:
    pairs, _ = pair_outcomes(outcomes_of(comparison, comparison.baseline), outcomes_of(comparison, name))
    by_scenario: dict[str, list[tuple[float, float]]] = {}
    for pair in pairs:
        by_scenario.setdefault(pair.scenario_id, []).append((pair.baseline, pair.other))
    return Counter(
        _Slope(*(100 * sum(values) / len(values) for values in zip(*found, strict=True)))
        for found in by_scenario.values()
    )


def _draw_slope(ax: Axes, slope: _Slope, count: int) -> None:
    style, colour, at = _SLOPE_STYLES[slope.direction]
    ax.plot([0, 1], slope, linestyle=style, color=colour, linewidth=2)
    ax.plot([0, 1], slope, "o", color=colour, markersize=5)
    if count > 1:
        height = slope.baseline + at * (slope.other - slope.baseline)
        ax.annotate(
            f"{count:,}", (at, height), ha="center", va="center", fontsize=9, color=colour,
            bbox={"boxstyle": "round,pad=0.25", "facecolor": ax.get_facecolor(), "edgecolor": colour},
        )  # fmt: skip


def _slope_legend(ax: Axes, counts: Counter[str]) -> None:
    for direction, (style, colour, _) in _SLOPE_STYLES.items():
        if counts[direction]:
            ax.plot([], [], linestyle=style, color=colour, linewidth=2, label=f"{direction}: {counts[direction]:,}")
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0), title="scenarios")


def _latency_point(comparison: Comparison, name: str) -> _Point | None:
    time = LATENCIES.get(comparison.facts.mode, LATENCIES["text"])[0]
    p50, p95, n = latency_of(valid_of(comparison, name), time)
    rate = success_of(comparison, name)
    if not n or isnan(rate.estimate):
        return None
    words = f"{name}: {rate} at a median of {p50:,.0f} ms, 95th percentile {p95:,.0f} ms over {n:,} replies."
    return _Point(name, rate, p50, p95, words)


def _cost_point(comparison: Comparison, name: str) -> _Point | None:
    cost, rate = costs_of(valid_of(comparison, name)).per_conversation, success_of(comparison, name)
    if cost is None or isnan(rate.estimate):
        return None
    return _Point(name, rate, cost, cost, f"{name}: {rate} at {dollars(cost)} a conversation.")


def _draw_point(ax: Axes, point: _Point, place: int) -> None:
    colour, marker = VARIANT_COLOURS[place % len(VARIANT_COLOURS)], MARKERS[place % len(MARKERS)]
    y = 100 * point.rate.estimate
    if not isnan(point.rate.low):
        ax.plot([point.x, point.x], [100 * point.rate.low, 100 * point.rate.high], color=colour, linewidth=1.5)
    if point.to > point.x:
        ax.plot([point.x, point.to], [y, y], color=colour, linewidth=1.5, linestyle="--")
    ax.plot(point.x, y, marker, color=colour, markersize=9, label=_short(point.name))


def _new_axes(*, height: float, width: float = 9) -> Axes:
    from matplotlib import pyplot as plt

    _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def _ink() -> Any:
    """Return the colour that the style in use writes with."""
    import matplotlib as mpl

    return mpl.rcParams["text.color"]


def _short(name: str) -> str:
    """Return a name for a label: not too long, and no formula even with dollar signs."""
    text = clean(name)
    text = text if len(text) <= NAME_CHARS else text[: NAME_CHARS - 1] + "…"
    return text.replace("$", r"\$")


def _describe(ax: Axes, text: str) -> Axes:
    ax.figure.set_label(clean(text))
    return ax


def drawn(comparison: Comparison) -> Sequence[tuple[str, Any]]:
    """Return what a report draws: a name, and a function that draws it."""
    return (
        ("differences", lambda: plot_forest(comparison)),
        ("flips", lambda: plot_flips(comparison)),
        ("latency", lambda: plot_quality(comparison, against="latency")),
        ("cost", lambda: plot_quality(comparison, against="cost")),
    )
