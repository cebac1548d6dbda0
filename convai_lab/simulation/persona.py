"""Persona: how does a simulated user talk, how patient are they, and how do they sound?

A persona is an instruction for a model that plays the caller, a wording for the offline user (see `wording.py`), and,
on a call, a pace, a background and a habit of interrupting.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from convai_lab.agents.plain_json import shown
from convai_lab.errors import InvalidValueError

DEFAULT_PATIENCE = 3
"""So often a caller is asked the same thing before they give up."""
MAX_INSTRUCTIONS_CHARS = 4000


@dataclass(frozen=True, kw_only=True)
class Persona:
    """Somebody who calls.

    Args:
        name: What tables call them.
        instructions: How they behave, for a model that plays them.
        style: The wording of the offline user: a name of `STYLES`, or empty to say everything as it is written.
        patience: So often they are asked the same thing before they give up.
        speed: How fast they speak on a call; 1 is usual.
        reaction_secs: How long after the agent they speak on a call.
        interrupts_after_words: On a call they speak once they have heard so many words; None lets the agent finish.
        noise_dbfs: The background on a call, in decibels below full scale; None is quiet.
        voice: The voice of a speech engine that speaks for them; empty is its first.
    """

    name: str
    instructions: str = ""
    style: str = ""
    patience: int = DEFAULT_PATIENCE
    speed: float = 1.0
    reaction_secs: float = 0.5
    interrupts_after_words: int | None = None
    noise_dbfs: float | None = None
    voice: str = ""

    def __post_init__(self) -> None:
        where = f"persona {shown(self.name)}"
        if not isinstance(self.name, str) or not self.name.strip():
            raise InvalidValueError("needs a name, such as patient", field="persona.name")
        if not isinstance(self.instructions, str) or len(self.instructions) > MAX_INSTRUCTIONS_CHARS:
            raise InvalidValueError(
                f"must be a text of at most {MAX_INSTRUCTIONS_CHARS:,} characters", field=f"{where}: instructions"
            )
        if self.style and self.style not in STYLES:
            raise InvalidValueError(
                f"must be one of {', '.join(STYLES)}, got {shown(self.style)}", field=f"{where}: style"
            )
        for name, (low, high, may_be_none) in _RANGES.items():
            _check_number(getattr(self, name), low, high, field=f"{where}: {name}", may_be_none=may_be_none)


STYLES = ("patient", "hurried", "confused", "hostile", "non_native", "elderly", "talkative", "terse", "shy")
"""The wordings that the offline user knows."""

_RANGES = {
    "patience": (1, 20, False),
    "speed": (0.5, 2.0, False),
    "reaction_secs": (0.0, 10.0, False),
    "interrupts_after_words": (1, 100, True),
    "noise_dbfs": (-90.0, 0.0, True),
}


def _check_number(value: Any, low: float, high: float, *, field: str, may_be_none: bool) -> None:
    if value is None and may_be_none:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidValueError(f"must be a number from {low} to {high}, got {shown(value)}", field=field)


PERSONAS: Mapping[str, Persona] = {
    persona.name: persona
    for persona in (
        Persona(
            name="patient",
            style="patient",
            patience=5,
            instructions="You are calm and friendly, you wait, and you thank for every piece of help.",
        ),
        Persona(
            name="hurried",
            style="hurried",
            patience=2,
            speed=1.2,
            reaction_secs=0.15,
            interrupts_after_words=6,
            instructions="You are in a hurry: you want short answers, cut in, and say so when it takes too long.",
        ),
        Persona(
            name="confused",
            style="confused",
            patience=4,
            speed=0.9,
            reaction_secs=1.2,
            instructions="You are unsure what is asked of you, correct yourself, and ask what things mean.",
        ),
        Persona(
            name="hostile",
            style="hostile",
            patience=2,
            speed=1.1,
            instructions="You are angry and distrustful, you complain and threaten to leave, but you never swear.",
        ),
        Persona(
            name="non_native",
            style="non_native",
            speed=0.85,
            reaction_secs=0.9,
            instructions="You speak the language as a foreigner: simple words, small grammar mistakes, some doubt.",
        ),
        Persona(
            name="elderly",
            style="elderly",
            patience=4,
            speed=0.8,
            reaction_secs=1.5,
            instructions="You are old, hear badly, speak slowly and politely, and are wary of technology.",
        ),
        Persona(
            name="talkative",
            style="talkative",
            patience=4,
            instructions="You talk a lot, tell small stories around every answer, and get to the point in the end.",
        ),
        Persona(
            name="terse",
            style="terse",
            patience=2,
            instructions="You use as few words as you can: fragments, no greetings, nothing that was not asked.",
        ),
        Persona(
            name="shy",
            style="shy",
            reaction_secs=1.0,
            instructions="You are shy: you hesitate, apologise for asking, and tell things only when asked directly.",
        ),
        Persona(
            name="on_the_street",
            noise_dbfs=-32.0,
            instructions="You call from a busy street and are sometimes distracted by what happens around you.",
        ),
    )
}
"""The personas that come with the lab, by name."""


def find_persona(persona: Persona | Mapping[str, Any] | str | None) -> Persona | None:
    """Return the persona that is meant: by name, or made from a mapping of its fields.

    Raises:
        InvalidValueError: There is no such persona, or a field of it is wrong.

    Example:
        >>> find_persona("Non-native").speed
        0.85
    """
    if persona is None or isinstance(persona, Persona):
        return persona
    if isinstance(persona, str):
        return _named(persona)
    if isinstance(persona, Mapping):
        return _made(persona)
    raise InvalidValueError(f"must be a name or a mapping, got {shown(persona)}", field="persona")


def _named(name: str) -> Persona:
    folded = "_".join(name.strip().lower().replace("-", " ").split())
    if folded in PERSONAS:
        return PERSONAS[folded]
    close = difflib.get_close_matches(folded, PERSONAS, n=1)
    hint = (
        f"did you mean {close[0]}?"
        if close
        else f"there are {', '.join(PERSONAS)}; or describe one: {{name: ..., instructions: ...}}"
    )
    raise InvalidValueError(f"there is none named {shown(name)}; {hint}", field="persona")


def _made(given: Mapping[str, Any]) -> Persona:
    known = [field.name for field in fields(Persona)]
    for name in given:
        if name not in known:
            raise InvalidValueError(f"is no field of a persona; they are {', '.join(known)}", field=f"persona.{name}")
    if "name" not in given:
        raise InvalidValueError("needs a name, such as name: neighbour", field="persona.name")
    return Persona(**given)
