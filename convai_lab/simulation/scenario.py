"""Scenario: who calls, what do they want and know, and what must have happened at the end?"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from convai_lab.agents.agent import Agent
from convai_lab.conversations.turn import Turn
from convai_lab.simulation.persona import Persona
from convai_lab.simulation.tool_mocks import Mock

DEFAULT_MAX_TURNS = 12
KEY_DIGITS = 20

AFTER_THE_TALK = ("checks", "expected_outcome")
"""Fields that decide how a conversation is graded, and not how it goes: the offline user reads the expected calls."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One situation that agents are tried in.

    Values are checked and copied when it is made. `checks` and `expected_tool_calls` are kept as they are written;
    `evaluation` reads them. `mocks` says what tools answer, by the name of the tool, and `state` what the world looks
    like before the conversation, which mocks may change.

    Args:
        id: A name; results are paired by it. Without one it is made from the opening.
        opening: The first thing the caller says.
        goal: What the caller wants, how they behave, and when they are done; read by a model that plays them.
        facts: What the caller knows, told when it is asked for.
        checks: What must hold at the end.
        max_turns: The conversation ends after so many turns of both sides; a first message does not count.
        variables: Values for the `{{variables}}` of the prompt.
        mocks: What tools answer.
        persona: How the caller talks: a name of `PERSONAS`, a mapping, or a `Persona`.
        expected_tool_calls: The calls of a good conversation.
        expected_outcome: What should come of it, in words, for a judge.
        seeds: Seeds to run it with, instead of those of the comparison.
        tags: For groups in tables.
        history: Turns that were said already; the conversation goes on from there.
        language: The language of the caller, as a code.
        lines: What a scripted caller says after the opening.
        state: The invented world before the conversation.
        acoustics: The caller's surroundings and line, where the conversation is held by voice: fields of `Acoustics`.

    Raises:
        InvalidValueError: A value is wrong; the message names the scenario and the field.

    Example:
        >>> Scenario(opening="Where is my order 1234?", facts={"order_number": 1234}).id
        'where_is_my_order_1234'
    """

    id: str = ""
    opening: str = ""
    goal: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[Mapping[str, Any], ...] = ()
    max_turns: int = DEFAULT_MAX_TURNS
    variables: Mapping[str, Any] = field(default_factory=dict)
    mocks: Mapping[str, tuple[Mock, ...]] = field(default_factory=dict)
    persona: Persona | None = None
    expected_tool_calls: tuple[Mapping[str, Any], ...] = ()
    expected_outcome: str | None = None
    seeds: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    history: tuple[Turn, ...] = ()
    language: str | None = None
    lines: tuple[str, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict)
    acoustics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from convai_lab.simulation.scenario_fields import checked_fields

        for name, value in checked_fields({f.name: getattr(self, f.name) for f in fields(self)}).items():
            object.__setattr__(self, name, value)

    def __hash__(self) -> int:
        return hash((self.id, self.key))

    @property
    def key(self) -> str:
        """Hash of everything that may change a result; tags do not."""
        return self._keys[0]

    @property
    def talk_key(self) -> str:
        """Hash of what may change the conversation: everything but tags, checks and the expected outcome."""
        return self._keys[1]

    def to_dict(self) -> dict[str, Any]:
        """Return the scenario as plain JSON, without what is as it would be anyway; `load_scenarios` reads it."""
        from convai_lab.simulation.scenario_fields import plain_scenario

        return plain_scenario(self)

    @functools.cached_property
    def _keys(self) -> tuple[str, str]:
        """The hashes of all fields but the tags as canonical JSON, and of those that the conversation depends on."""
        told = {name: _told_field(name, getattr(self, name)) for name in _FIELDS}
        return _hash(told.values()), _hash(text for name, text in told.items() if name not in AFTER_THE_TALK)


@dataclass(frozen=True)
class ScenarioSet:
    """Scenarios in order, with the agent they were written for, if the source names one.

    `mocks` are the answers of that agent's tools; every scenario has them already where it has none of its own.
    """

    scenarios: tuple[Scenario, ...]
    agent: Agent | None = None
    mocks: Mapping[str, tuple[Mock, ...]] = field(default_factory=dict)
    source: str = "scenarios"

    def __iter__(self) -> Iterator[Scenario]:
        return iter(self.scenarios)

    def __len__(self) -> int:
        return len(self.scenarios)

    def __getitem__(self, which: int | str) -> Scenario:
        """Return a scenario by its place or its id."""
        if isinstance(which, int):
            return self.scenarios[which]
        found = next((scenario for scenario in self.scenarios if scenario.id == which), None)
        if found is None:
            raise KeyError(f"{self.source} has no scenario {which!r}")
        return found


def load_scenarios(source: Any) -> ScenarioSet:
    """Read scenarios from a file (.yaml, .yml, .json, .jsonl, .csv, .parquet), a list, or a DataFrame.

    A list may hold mappings, texts (each the opening of a scenario of one question) and scenarios; a mapping has
    ``agent`` and ``scenarios``, as a file has.

    Raises:
        InvalidValueError: Something in it is wrong; one sentence names the file, the scenario and the field.

    Example:
        >>> [scenario.id for scenario in load_scenarios(["Are you open?", "Can I pay by card?"])]
        ['are_you_open', 'can_i_pay_by_card']
    """
    from convai_lab.simulation.scenario_source import read_scenarios

    return read_scenarios(source)


def _told(value: Any) -> Any:
    return asdict(value) if isinstance(value, Mock | Persona | Turn) else str(value)


_canonical = json.JSONEncoder(sort_keys=True, default=_told).encode
_FIELDS = sorted(f.name for f in fields(Scenario) if f.name != "tags")
_DEFAULTS = {f.name: f.default if f.default is not MISSING else {} for f in fields(Scenario)}
_DEFAULTS_TOLD = {name: f'"{name}": {_canonical(_DEFAULTS[name])}' for name in _FIELDS}


def _told_field(name: str, value: Any) -> str:
    """Return a field as it stands in the canonical JSON of all of them; most have their default."""
    default = _DEFAULTS[name]
    is_default = type(value) is type(default) and value == default
    return _DEFAULTS_TOLD[name] if is_default else f'"{name}": {_canonical(value)}'


def _hash(told: Iterable[str]) -> str:
    return hashlib.sha256(f"{{{', '.join(told)}}}".encode()).hexdigest()[:KEY_DIGITS]
