"""Compare: which variant is better, in the terminal and as a gate of a build?"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from math import isnan
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from convai_lab.cli.chat import variable
from convai_lab.cli.platform import open_platform, platform_option
from convai_lab.errors import InvalidValueError

if TYPE_CHECKING:
    from convai_lab.experiments.comparison import Comparison
    from convai_lab.workspace.workspace import Workspace

GATE_FAILED, INTERRUPTED = 1, 130
FILE = click.Path(path_type=Path, dir_okay=False)
EPILOG = """\b
Exit status: 0 done; 1 a gate failed, or something was wrong; 2 wrong usage; 130 interrupted (what is done is kept,
and the same command goes on from there).

\b
  convai compare support --llm gpt-4o-mini,claude-haiku-4-5 --scenarios calls.yaml --trials 5 --max-cost 2
  convai compare support@3 support --scenarios calls.yaml --fail-if-worse --junit result.xml
  convai compare @agent.yaml --scenarios calls.yaml --fail-under 0.8
"""


class Outputs(NamedTuple):
    """Where a comparison is written besides the terminal."""

    junit: Path | None = None
    json: Path | None = None
    html: Path | None = None
    save: Path | None = None


class Gates(NamedTuple):
    """What a build asks of a comparison."""

    fail_under: float | None = None
    fail_if_worse: bool = False


def _options(*groups: Any) -> Callable[[Any], Any]:
    def add(command: Any) -> Any:
        for option in reversed(groups):
            command = option(command)
        return command

    return add


RUN_OPTIONS = _options(
    click.option("--llm", "llms", default="", metavar="A,B", help="Models: each agent is tried with each of them."),
    click.option("--scenarios", required=True, metavar="FILE", help="YAML, JSON, JSONL, CSV or Parquet."),
    click.option("--trials", type=click.IntRange(min=1), default=1, show_default=True, help="Of each scenario."),
    click.option("--baseline", metavar="NAME", help="The variant the others are compared with; the first."),
    click.option("--judge", metavar="A,B", help="Models that decide criteria and expected outcomes."),
    click.option("--simulated-user", metavar="NAME", help="offline (the default), scripted, or a model."),
    click.option("--var", "pairs", multiple=True, metavar="NAME=VALUE", help="A variable of the prompts."),
    click.option("--max-cost", default="1", show_default=True, metavar="USD", help="Spend at most so much, or none."),
    click.option("--seed", type=int, default=0, show_default=True, help="What callers and chance depend on."),
    click.option("--mode", type=click.Choice(["text", "voice"]), default="text", show_default=True),
    click.option("--concurrency", type=click.IntRange(min=1), help="At most so many conversations at once."),
    click.option("--stop", type=click.Choice(["decided"]), help="End early once it is decided."),
    click.option("--allow-offline", is_flag=True, help="Let offline rules compete with language models."),
    click.option("--journal", metavar="NAME", help="A journal of its own, by name or path."),
    click.option("--cassette", metavar="FILE[:MODE]", help="Record what models answer, or replay it without them."),
    click.option("--dry-run", is_flag=True, help="Say what it would ask and cost, and ask nothing."),
)
OUTPUT_OPTIONS = _options(
    click.option("--fail-under", type=click.FloatRange(0, 1), metavar="RATE", help="Gate: success of each variant."),
    click.option("--fail-if-worse", is_flag=True, help="Gate: no variant is worse than the baseline."),
    click.option("--junit", type=FILE, help="Write JUnit XML, for build servers."),
    click.option("--json", "as_json", type=FILE, help="Write JSON, for programs; - is standard output."),
    click.option("--html", type=FILE, help="Write a page with tables, plots and transcripts."),
    click.option("--save", type=FILE, help="Write it whole, to be reopened with lab.load (x.convai)."),
)


@click.command(epilog=EPILOG)
@click.argument("agents", nargs=-1, metavar="[AGENT]...")
@RUN_OPTIONS
@OUTPUT_OPTIONS
@platform_option
def compare(
    agents: tuple[str, ...],
    llms: str,
    platform: str,
    fail_under: float | None,
    fail_if_worse: bool,
    junit: Path | None,
    as_json: Path | None,
    html: Path | None,
    save: Path | None,
    **options: Any,
) -> int:
    """Hold every scenario with every variant and say who is better, or that it is a tie.

    AGENT is a name, an earlier version (name@3) or a file (@agent.yaml).
    """
    outputs, gates = Outputs(junit, as_json, html, save), Gates(fail_under, fail_if_worse)
    _require_writable(outputs)
    if not agents and not _words(llms):
        raise click.UsageError("name at least one AGENT, or models with --llm")
    return _compared(agents, _words(llms), open_platform(platform), options, outputs, gates)


def _compared(
    agents: tuple[str, ...],
    llms: list[str],
    workspace: Workspace,
    options: Mapping[str, Any],
    outputs: Outputs,
    gates: Gates,
) -> int:
    from convai_lab.experiments import comparison as experiments
    from convai_lab.experiments.comparing import partial_comparison
    from convai_lab.experiments.contenders import contenders
    from convai_lab.experiments.progress import WarningsAlone

    variants = contenders(agents, llms, workspace)
    elsewhere = None if workspace.platform == "local" else workspace
    try:
        progress = sys.stderr.isatty() or WarningsAlone()
        found = experiments.compare(variants, workspace=elsewhere, progress=progress, **_given(options))
    except KeyboardInterrupt as interrupt:
        if (partial := partial_comparison(interrupt)) is not None:
            _finish(partial, workspace, agents, outputs)
            click.echo("convai: stopped; the same command goes on from there", err=True)
        return INTERRUPTED
    if not isinstance(found, experiments.Comparison):
        click.echo(str(found))
        return 0
    _finish(found, workspace, agents, outputs)
    broken = broken_gates(found, gates)
    for sentence in broken:
        click.echo(f"convai: gate failed: {sentence}", err=True)
    return GATE_FAILED if broken else 0


def broken_gates(found: Comparison, gates: Gates) -> list[str]:
    """Return a sentence for each gate that does not hold; what cannot be known does not pass."""
    if gates.fail_under is None and not gates.fail_if_worse:
        return []
    broken = []
    if found.facts.stopped == "max_cost":
        broken.append(f"the run ended at --max-cost after {len(found):,} of {found.facts.planned:,} trials")
    if gates.fail_under is not None:
        broken += [told for name in found.variant_names if (told := _under(found, name, gates.fail_under))]
    if gates.fail_if_worse:
        broken += _worse(found)
    return broken


def _under(found: Comparison, name: str, least: float) -> str:
    """Say how a variant misses its rate; what could not be graded must not decide, so it is taken for failed."""
    from convai_lab.experiments.leaderboard import success_of
    from convai_lab.experiments.outcomes import outcomes_of, trials_of

    rate = success_of(found, name).estimate
    if isnan(rate):
        return f"no trial of {name} was graded, so that its success is not known"
    if rate < least:
        return f"{name} succeeds in {rate:.1%}, less than {least:.1%}"
    at_worst = fmean(fmean(value or 0.0 for _, value in trials) for trials in outcomes_of(found, name).values())
    if at_worst >= least:
        return ""
    lost = Counter(
        trial.failed_party or "nothing to grade by" for trial in trials_of(found, name) if not trial.is_graded
    )
    why = ", ".join(f"{count:,} by {party}" for party, count in lost.most_common())
    return f"too few trials of {name} could be graded to know that it succeeds in {least:.1%} (lost: {why})"


def _worse(found: Comparison) -> list[str]:
    verdicts = found.verdict.by_challenger
    if not verdicts:
        return ["--fail-if-worse needs two variants: there is nothing to compare with"]
    worse = [f"{name} is worse than {found.baseline}" for name, one in verdicts.items() if one.outcome == "worse"]
    unknown = [name for name, one in verdicts.items() if one.outcome == "unknown"]
    return worse + [f"whether {name} is worse than {found.baseline} is not known" for name in unknown]


def _finish(found: Comparison, workspace: Workspace, agents: tuple[str, ...], outputs: Outputs) -> None:
    """Print it, write it, and keep its conversations where transcripts are looked for."""
    from convai_lab.experiments.keeping import keep_conversations

    if outputs.json is None or str(outputs.json) != "-":
        click.echo(str(found))
    _write(found, outputs)
    is_platform_used = any(not name.startswith("@") for name in agents)  # else none is started for this
    if is_platform_used and (note := keep_conversations(found, workspace)):
        click.echo(f"convai: {note}", err=True)


def _write(found: Comparison, outputs: Outputs) -> None:
    from convai_lab.experiments.exports import comparison_json, comparison_junit
    from convai_lab.experiments.report import write_report

    if outputs.json is not None:
        text = json.dumps(comparison_json(found), indent=2, ensure_ascii=True, allow_nan=False)
        if str(outputs.json) == "-":
            click.echo(text)
        else:
            _write_text(outputs.json, text + "\n", "--json")
    if outputs.junit is not None:
        _write_text(outputs.junit, comparison_junit(found), "--junit")
    if outputs.html is not None:
        write_report(found, outputs.html)
    if outputs.save is not None:
        found.save(outputs.save)


def _write_text(path: Path, text: str, option: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidValueError(f"cannot write {path}: {error.strerror or error}", field=option) from None


def _require_writable(outputs: Outputs) -> None:
    """Say before anything is spent that a result could not be written."""
    for name, path in outputs._asdict().items():
        if path is not None and str(path) != "-" and not path.expanduser().absolute().parent.is_dir():
            raise InvalidValueError(f"cannot write {path}: there is no such folder", field=f"--{name}")


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as `compare` takes them."""
    given = dict(options)
    given["variables"] = dict(variable(text) for text in given.pop("pairs"))
    judges = _words(given.pop("judge") or "")
    given["judge"] = judges[0] if len(judges) == 1 else judges or None
    given["max_cost"] = _max_cost(given["max_cost"])
    return given


def _max_cost(text: str) -> float | None:
    if text.lower() == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no amount: give USD, or none", param_hint="--max-cost") from None


def _words(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
