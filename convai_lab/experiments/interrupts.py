"""Interrupts: what does whoever stops a run see: our whole stack, or what is kept of it and how to go on?"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from convai_lab.experiments.comparison import Comparison

InterruptT = TypeVar("InterruptT", bound=BaseException)


def stopped_run(interrupt: InterruptT, *, again: str = "call", where: str = "") -> InterruptT:
    """Return the interrupt of a comparison that says in one line what is kept of it.

    Without a comparison it came before there was a plan, or a second time, and nobody waited for the first to clean up.

    Args:
        again: What goes on from there: the same call, or the same cell.
        where: The variable that has what is done.
    """
    return in_one_line(interrupt, _kept(getattr(interrupt, "comparison", None), again, where))


def in_one_line(interrupt: InterruptT, kept: str) -> InterruptT:
    """Return an interrupt that a notebook shows as one line, and a plain Python without our stack; it stays one."""
    line = f"{type(interrupt).__name__}: stopped; {kept}"
    interrupt._render_traceback_ = lambda: [line]  # type: ignore[attr-defined]
    return interrupt.with_traceback(None)


def _kept(partial: Comparison | None, again: str, where: str) -> str:
    goes_on = f"and the same {again} goes on from there"
    if partial is None:
        return f"what is done is kept, {goes_on}"
    if not partial.trials:
        return f"none of {partial.facts.planned:,} trials had ended, and the same {again} begins anew"
    return f"{len(partial):,} of {partial.facts.planned:,} trials are kept{f' in {where}' if where else ''}, {goes_on}"
