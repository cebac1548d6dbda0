"""Experiment magic: comparing variants in a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convai_lab.errors import ConvaiLabError
from convai_lab.experiments.bundle import SUFFIX
from convai_lab.experiments.comparing import partial_comparison
from convai_lab.experiments.comparison import Comparison, compare
from convai_lab.experiments.contenders import contenders
from convai_lab.experiments.interrupts import stopped_run
from convai_lab.experiments.keeping import keep_conversations
from convai_lab.notebook.arguments import Arguments, ArgumentsError
from convai_lab.notebook.bench import Bench
from convai_lab.notebook.display import Picture, show, silence_once
from convai_lab.notebook.usual_variables import usual_variables
from convai_lab.simulation.scenario import load_scenarios

if TYPE_CHECKING:
    from convai_lab.experiments.estimate import Estimate

PASSED_ON = (
    "trials", "baseline", "max_cost", "seed", "mode", "concurrency", "stop", "journal", "cassette",
    "allow_offline", "dry_run",
)  # fmt: skip
"""Options that mean what the arguments of `compare` with these names mean."""

KEEPING_SECS = 2.0
"""How long the cell waits until the conversations are among the transcripts; the rest follows by itself."""


def run_compare(bench: Bench, arguments: Arguments, body: str | None) -> Comparison | Estimate:
    """Compare variants, show what came of it, and return the comparison (or the estimate of a dry run)."""
    scenarios = load_scenarios(_scenarios(arguments, body))
    target = _target(arguments.save)
    options = {name: arguments.values[name] for name in PASSED_ON if name in arguments.values}
    options |= {"judge": _listed(arguments.judge), "simulated_user": arguments.simulated_user}
    agents = [*(arguments.name or ()), *(arguments.agent or ())]
    variants = contenders(agents, models(arguments.llm), bench.workspace)
    speakers = variants.values() if isinstance(variants, dict) else filter(None, [scenarios.agent])
    variables = usual_variables(bench, speakers, scenarios, arguments.var)
    try:
        found = compare(variants, scenarios, workspace=_elsewhere(bench), variables=variables, **options)
    except (KeyboardInterrupt, ConvaiLabError) as error:
        if (partial := partial_comparison(error)) is not None:
            _shown(bench, partial, target)
        if isinstance(error, KeyboardInterrupt):
            stopped_run(error, again="cell", where=target or "")
        raise
    return _shown(bench, found, target)


def models(given: Any) -> list[str]:
    """Return the models in a list with commas."""
    parts = given if isinstance(given, list | tuple) else str(given or "").split(",")
    return [part.strip() for part in map(str, parts) if part.strip()]


def _listed(given: Any) -> Any:
    """Return one judge as it is, several as a list."""
    if not isinstance(given, str):
        return given
    named = models(given)
    return named[0] if len(named) == 1 else named or None


def _scenarios(arguments: Arguments, body: str | None) -> Any:
    if body is not None and arguments.scenarios is not None:
        raise ArgumentsError("%%compare has its scenarios in its body: leave out --scenarios, or use %compare")
    if body is not None:
        from convai_lab.simulation.inline import inline_scenarios

        return inline_scenarios(body)
    if arguments.scenarios is None:
        raise ArgumentsError(
            "%compare needs --scenarios FILE, such as datasets/scenarios/support.yaml, or %%compare with one opening a "
            "line below it"
        )
    return arguments.scenarios


def _elsewhere(bench: Bench) -> Any:
    """Return the workspace when agents live on another platform; local ones run in this process."""
    return None if bench.workspace.platform == "local" else bench.workspace


def _target(save: Any) -> str | None:
    """Return where the comparison is kept: a variable or a file; checked before anything is spent.

    Raises:
        ArgumentsError: It is neither.
    """
    if save is None or (isinstance(save, str) and (save.isidentifier() or save.endswith(SUFFIX))):
        return save
    raise ArgumentsError(
        f"--save takes the name of a variable, or a file that ends in {SUFFIX}, not {str(save)[:60]!r}"
    )


def _shown(bench: Bench, found: Comparison | Estimate, target: str | None) -> Comparison | Estimate:
    """Show it once, and keep it where it was asked for."""
    if target is not None and not target.endswith(SUFFIX):
        bench.shell.user_ns[target] = found
    show(Picture(found._repr_html_(), str(found)))
    if isinstance(found, Comparison):
        if note := keep_conversations(found, bench.workspace, wait_secs=KEEPING_SECS):
            print(note)
        if target is not None and target.endswith(SUFFIX):
            print(f"Saved in {found.save(target)}")
    return silence_once(found)
