"""Bundle: how does a comparison travel in one file, and come back without keys?

An ``x.convai`` holds everything: trials, conversations, scenarios, agents, seeds, prices, and the cassette where there
is one. See `archive` for what is checked when it is opened, and `redaction` for what is taken out before it is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from convai_lab.agents.wire_format import agent_to_wire
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.wire_format import conversation_to_wire
from convai_lab.errors import ConvaiLabError, InvalidValueError
from convai_lab.experiments.archive import Archive, Part, write_archive
from convai_lab.experiments.cassette_redaction import taped_line
from convai_lab.experiments.comparison import Comparison, RunFacts
from convai_lab.experiments.redaction import Hide, hidden_variables, hide_in, variables_hider
from convai_lab.experiments.trial import TrialResult
from convai_lab.experiments.unbundling import read_comparison
from convai_lab.experiments.variant import Variant

SUFFIX = ".convai"
ABOUT, VARIANTS, SCENARIOS, TRIALS, PRICES = (
    *("comparison.json", "variants.json", "scenarios.jsonl", "trials.jsonl", "prices.json"),
)
CASSETTE_SUFFIXES = (".jsonl", ".json", ".gz")
"""A cassette of another name gets the first: nobody who takes it out gets a program or a notebook."""
CONVERSATIONS, CASSETTE = "conversations/", "cassette/"
NAMES_IN_TRIALS = ("variant", "scenario_id", "key", "conversation_id", "model_served")


def save(
    comparison: Comparison,
    path: str | Path,
    *,
    redact: bool = True,
    conversations: bool = True,
    cassette: str | Path | None = None,
) -> Path:
    """Write a comparison into one file; return its path.

    Keys are taken out always. The results and the verdict are the same when it is reopened; with `redact`, texts lose
    e-mail addresses, phone numbers and the values of all callers' variables. Recorded sound stays as it is.

    Args:
        path: ``.convai`` is added where it has no ending. A file that is there is replaced.
        redact: Take out what could tell who called, and headers of agents.
        conversations: Take the conversations along.
        cassette: A cassette to take along; by itself the one that was recorded or replayed. Redacted, it still answers
            the redacted scenarios, but where a value was no text, stood in the agent, or was heard.

    Raises:
        InvalidValueError: It cannot be written there.
    """
    file = _target(path)
    about = {"made_with": dict(comparison.facts.versions), "redacted": redact}
    write_archive(file, _parts(comparison, redact, conversations, cassette), about)
    return file


def load(path: str | Path) -> Comparison:
    """Reopen a saved comparison; no key and no network is needed.

    Example::

        comparison.save("support.convai")
        load("support.convai").verdict

    Args:
        path: ``.convai`` is added where it has no ending and there is no such file.

    Raises:
        InvalidValueError: It is no saved comparison, was changed or cut off, or a newer version wrote it.
    """
    return read_comparison(Archive(_source(path)))


def cassette_in(path: str | Path, folder: str | Path) -> Path | None:
    """Write the cassette of a saved comparison into a folder; return its path, or None when it has none.

    Raises:
        InvalidValueError: It is no saved comparison, the folder cannot be written, or another file is there.
    """
    archive = Archive(_source(path))
    name = next((name for name in archive.names if name.startswith(CASSETTE)), None)
    if name is None:
        return None
    target = Path(folder).expanduser() / Path(name).name
    if target.suffix not in CASSETTE_SUFFIXES or target.name.startswith("."):
        archive.refuse(f"it holds a cassette named {target.name[:80]!r}, which none is")
    data = archive.read(name)
    try:
        if target.exists() and target.read_bytes() != data:
            raise InvalidValueError("there is another file of this name: give another folder", field=str(target))
        target.write_bytes(data)
    except OSError as error:
        raise InvalidValueError(f"cannot write {target}: {error.strerror or error}", field="folder") from None
    return target


def _source(path: str | Path) -> Path:
    """Return the file that is meant, which need not be there."""
    given = _given(path)
    other = given.with_name(given.name + SUFFIX)
    return other if not given.suffix and not _is_there(given) and _is_there(other) else given


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no file has such a name
        return False


def _given(path: str | Path) -> Path:
    if not isinstance(path, str | Path) or not str(path).strip() or "\0" in str(path):
        shown = repr(path) if isinstance(path, str) else type(path).__name__
        raise InvalidValueError(f"give the path of a file, such as result{SUFFIX}, got {shown[:80]}", field="path")
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        raise InvalidValueError(f"{str(path)[:80]}: there is no such user", field="path") from None


def _target(path: str | Path) -> Path:
    given = _given(path)
    file = given if given.suffix else given.with_name(given.name + SUFFIX)
    if given.is_dir() or file.is_dir() or not file.parent.is_dir():
        raise InvalidValueError(f"cannot write {file}: name a file in a folder that exists", field="path")
    return file


def _parts(
    comparison: Comparison, redact: bool, conversations: bool, cassette: str | Path | None
) -> Iterator[Part]:  # fmt: skip
    hide = variables_hider(*(scenario.variables for scenario in comparison.scenarios)) if redact else str
    agents = [_variant(variant) for variant in comparison.variants]
    scenarios = [_scenario(scenario.to_dict(), redact, hide) for scenario in comparison.scenarios]
    trials = [_trial(trial, redact, hide) for trial in comparison.trials]
    yield _json(VARIANTS, hide_in(agents) if redact else agents)
    yield _lines(SCENARIOS, scenarios)
    yield _lines(TRIALS, trials)
    yield _json(PRICES, _prices(comparison))
    gone = 0
    for trial in comparison.trials if conversations else ():
        said = _said(comparison, trial)
        if said is None:
            gone += 1
        else:
            yield _json(f"{CONVERSATIONS}{trial.key}.json", _conversation(said, redact, hide))
    yield _json(ABOUT, _about(comparison, gone, conversations))
    if (tape := _cassette_of(comparison, cassette)) is not None:
        yield _cassette(tape, redact, hide)


def _variant(variant: Variant) -> dict[str, Any]:
    return {"name": variant.name, "platform": variant.platform, "agent": agent_to_wire(variant.agent)}


def _scenario(written: dict[str, Any], redact: bool, hide: Hide) -> dict[str, Any]:
    if not redact:
        return written
    rest = {name: value for name, value in written.items() if name not in ("id", "tags", "variables")}
    kept = {name: written[name] for name in ("id", "tags") if name in written}
    variables = {"variables": hidden_variables(written["variables"], hide)} if "variables" in written else {}
    return {**kept, **hide_in(rest, hide), **variables}


def _trial(trial: TrialResult, redact: bool, hide: Hide) -> dict[str, Any]:
    written = {**trial.to_dict(), "is_cached": trial.is_cached}
    if not redact:
        return written
    names = {name: written[name] for name in NAMES_IN_TRIALS}
    return {**hide_in(written, hide), **names}


def _conversation(said: Conversation, redact: bool, hide_callers: Hide) -> Any:
    if not redact:
        return conversation_to_wire(said)
    hide_own = variables_hider(said.variables)

    def hide(text: str) -> str:
        return hide_own(hide_callers(text))

    hidden = said.with_changes(variables=hidden_variables(said.variables, hide), user_id=None)
    return hide_in(conversation_to_wire(hidden), hide)


def _said(comparison: Comparison, trial: TrialResult) -> Conversation | None:
    try:
        return comparison.conversation(*trial.id)
    except ConvaiLabError:  # gone from the journal, or damaged: the rest is worth saving
        return None


def _about(comparison: Comparison, gone: int, conversations: bool) -> dict[str, Any]:
    facts = replace(comparison.facts, journal="", cassette=Path(comparison.facts.cassette).name)
    notes = list(facts.notes)
    if not conversations:
        notes.append("saved without its conversations")
    elif gone:
        notes.append(f"{gone:,} conversations were not in the journal any more when it was saved")
    told = {f.name: getattr(facts, f.name) for f in fields(RunFacts)}
    told |= {"notes": notes}
    return {"baseline": comparison.baseline, "facts": told}


def _prices(comparison: Comparison) -> dict[str, Any]:
    """Return what its models cost by the price list of the day: USD for a million tokens, None where not known."""
    from convai_lab.experiments.spending import price
    from convai_lab.providers.base import Usage
    from convai_lab.providers.prices import price_date
    from convai_lab.providers.registry import parse_model

    listed = {}
    for name in sorted({variant.model for variant in comparison.variants}):
        try:
            provider, model = parse_model(name)[:2]
        except ConvaiLabError:
            continue
        usages = {"input": Usage(1000, 0), "output": Usage(0, 1000)}
        usd = {kind: price(provider, model, usage) for kind, usage in usages.items()}
        listed[name] = {kind: None if value is None else round(1000 * value, 6) for kind, value in usd.items()}
    return {"run": comparison.facts.price_date, "listed_on": price_date(), "usd_per_million_tokens": listed}


def _cassette_of(comparison: Comparison, given: str | Path | None) -> Path | None:
    """Return the cassette that was named, else the one of the run while it is there."""
    if given is not None:
        return Path(given).expanduser()
    own = Path(comparison.facts.cassette)
    return own if own.is_absolute() and own.is_file() else None


def _cassette(path: Path, redact: bool, hide: Hide) -> Part:
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise InvalidValueError(f"cannot read {path}: {error.strerror or error}", field="cassette") from None
    name = path.name.lstrip(".") if path.suffix in CASSETTE_SUFFIXES else f"{path.name.lstrip('.')}.jsonl"
    return Part(CASSETTE + name, b"".join(taped_line(line, hide, redact=redact) for line in lines))


def _lines(name: str, rows: list[dict[str, Any]]) -> Part:
    return Part(name, b"".join(_json(name, row).data + b"\n" for row in rows))


def _json(name: str, value: Any) -> Part:
    """Return a value as JSON; keys never go along."""
    from convai_lab import settings

    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), sort_keys=True, default=str)
    return Part(name, settings.scrub(text).encode())
