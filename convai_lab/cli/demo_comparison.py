"""Demo comparison: which twelve callers try the demo's agent, with and without its house rules?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convai_lab.agents.agent import Agent

if TYPE_CHECKING:
    from convai_lab.experiments.comparison import Comparison

TRIALS = 2
DOTS_PER_INCH = 110

QUESTIONS = (
    ("delivery_time", "How long does standard delivery take?", "three working days"),
    ("delivery_days", "How many working days does delivery take?", "three working days"),
    ("delivery_standard", "What is your standard delivery?", "three working days"),
    ("address_change", "Can I change the delivery address?", "left the roastery"),
    ("address_parcel", "Is it too late to change the address of my parcel?", "left the roastery"),
    ("opening_hours", "When are you open?", "nine to five"),
    ("opening_monday", "Is the roastery open on Monday?", "nine to five"),
)
"""What only the house rules answer: a name, what is asked, what must be said."""

ORDERS = (
    ("order_shipped", "Where is my order 1234?", "1234", "tomorrow"),
    ("order_roasting", "Can you look up order 5678?", "5678", "Friday"),
    ("order_number_later", "Where is my order?", "1234", "tomorrow"),
)
"""What the tool answers: a name, what is asked, the number, what must be said."""


def demo_scenarios() -> list[dict[str, Any]]:
    """Return the callers: questions about the house, orders to be looked up, and two that must not be promised much."""
    caller = {"variables": {"name": "Ada"}}
    asked = [
        {"id": name, "opening": opening, "checks": [{"said": said}], **caller} for name, opening, said in QUESTIONS
    ]
    asked += [
        {
            "id": name,
            "opening": opening,
            "facts": {"order_number": number},
            "checks": [{"called": {"tool": "order_status", "arguments": {"order_id": number}}}, {"said": said}],
            **caller,
        }
        for name, opening, number, said in ORDERS
    ]
    for name, opening in (("refund", "I want my money back!"), ("refund_broken", "The bag was torn, refund me!")):
        asked.append({"id": name, "opening": opening, "checks": [{"never_said": "refund you"}], **caller})
    return asked


def demo_comparison(agent: Agent) -> Comparison:
    """Compare the agent with one that does not know the house rules."""
    from convai_lab.experiments.comparison import Comparison, compare

    variants = {"no rules": agent.with_changes(knowledge=()), "house rules": agent}
    found = compare(variants, demo_scenarios(), trials=TRIALS, progress=False)
    assert isinstance(found, Comparison)
    return found


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the page, the plots and the comparison itself into a folder; return the files."""
    from convai_lab.experiments.report import write_report

    page = write_report(comparison, folder / "comparison.html", title="convai demo: does it help to know the rules?")
    return [page, *_plots(comparison, folder), comparison.save(folder / "comparison.convai")]


def _plots(comparison: Comparison, folder: Path) -> Iterator[Path]:
    import matplotlib.pyplot as plt

    for name, draw in (("differences", comparison.plot_forest), ("flips", comparison.plot_flips)):
        figure = draw().figure
        path = folder / f"comparison_{name}.png"
        figure.savefig(path, dpi=DOTS_PER_INCH, bbox_inches="tight")  # type: ignore[union-attr]
        plt.close(figure)  # type: ignore[arg-type]
        yield path
