"""Outcome checks: how did it end, what was collected, and what did the tools leave behind?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from convai_lab.dialogue.validator import load_validator
from convai_lab.evaluation.argument_match import MATCHERS, OPTIONS, Matcher, difference, matcher_of, shown_json
from convai_lab.evaluation.check import Check, Found, Scene
from convai_lab.evaluation.check_fields import Fields, fields_in, json_in, refuse
from convai_lab.evaluation.said_checks import Phrase, Words, phrase_in


@dataclass(frozen=True)
class Ended:
    """The conversation was ended by somebody, or for a reason."""

    kind: Literal["ended_by", "end_reason"]
    wanted: Phrase

    @property
    def name(self) -> str:
        """How it must have ended."""
        return f"{self._what()} {self.wanted}"

    def run(self, scene: Scene) -> Found:
        """Look at how it ended."""
        ended = scene.conversation.ended_by if self.kind == "ended_by" else scene.conversation.end_reason
        if not ended:
            return Found(None, "it is not known how the conversation ended")
        return Found(self._fits(ended), f"{self._what()} {ended}")

    def _fits(self, ended: str) -> bool:
        if self.kind == "ended_by" and isinstance(self.wanted, Words):
            return ended.casefold() in self.wanted.folded
        return self.wanted.found_in(ended) is not None

    def _what(self) -> str:
        return "ended by" if self.kind == "ended_by" else "ended because of"


@dataclass(frozen=True)
class State:
    """The mocked tools were left in this state; a subset may have more than is asked for."""

    wanted: Any
    subset: bool
    kind: ClassVar[str] = "state"

    @property
    def name(self) -> str:
        """What the state must be or have."""
        return f"state {'has' if self.subset else 'is'} {shown_json(self.wanted)}"

    def run(self, scene: Scene) -> Found:
        """Compare the state that the tools left."""
        if scene.tool_state is None:
            return Found(None, "the tools of this conversation kept no state")
        wrong = difference(self.wanted, scene.tool_state, subset=self.subset)
        return Found(not wrong, wrong or "the state is as it should be")


@dataclass(frozen=True)
class CollectedItem:
    """One collected value fits."""

    item: str
    wanted: Matcher
    kind: ClassVar[str] = "collected"

    @property
    def name(self) -> str:
        """Which value must be what."""
        return f"collected {self.item}={self.wanted}"

    def run(self, scene: Scene) -> Found:
        """Look at the value."""
        result = scene.conversation.analysis.data.get(self.item)
        if result is None:
            return Found(None, f"{self.item} was not collected from this conversation")
        return Found(self.wanted.matches(result.value), f"{self.item} is {shown_json(result.value)}")


@dataclass(frozen=True)
class CollectedSchema:
    """The collected values together, or one of them, are valid under a JSON schema."""

    schema: Mapping[str, Any]
    item: str = ""
    kind: ClassVar[str] = "collected"

    @property
    def name(self) -> str:
        """What must be valid."""
        return f"collected {self.item or 'data'} is valid"

    def run(self, scene: Scene) -> Found:
        """Validate what was collected."""
        load_validator()
        import jsonschema
        import referencing.exceptions

        data = scene.conversation.analysis.data
        if not data or (self.item and self.item not in data):
            return Found(None, f"{self.item or 'no data'} was {'not ' if self.item else ''}collected")
        values = {name: result.value for name, result in data.items()}
        alone: Any = referencing.Registry()  # a schema that refers to others fetches nothing
        validator = jsonschema.Draft202012Validator(self.schema, registry=alone)
        try:
            problem = next(validator.iter_errors(values[self.item] if self.item else values), None)
        except (referencing.exceptions.Unresolvable, RecursionError, re.error) as error:  # shows only in use
            return Found(None, f"the schema cannot be used ({type(error).__name__})")
        if problem is None:
            return Found(True, "what was collected is valid")
        where = ".".join(map(str, problem.absolute_path)) or self.item or "the data"
        return Found(False, f"{where}: {problem.message[:200]}")


def ended_by(raw: Any, where: str) -> Check:
    """Read an `ended_by` check: who ended the conversation."""
    return Ended("ended_by", phrase_in(raw, where))


def end_reason(raw: Any, where: str) -> Check:
    """Read an `end_reason` check: a text that the reason contains."""
    return Ended("end_reason", phrase_in(raw, where))


def state(raw: Any, where: str) -> Check:
    """Read a `state` check: `has` some values, or `equals` them exactly."""
    fields = fields_in(raw, where)
    if not {"has", "equals"} & set(raw):
        fields.fail("write has: {...} for some of the state, or equals: {...} for all of it")
    fields.only(("has", "equals"))
    kind = fields.one_of(("has", "equals"))
    return State(json_in(fields.mapping(kind).values, f"{where}.{kind}"), kind == "has")


def collected(raw: Any, where: str) -> Check:
    """Read a `collected` check: `schema` for everything that was collected, or an `item` and what it must be."""
    fields = fields_in(raw, where)
    fields.only(("item", "schema", *MATCHERS, *OPTIONS))
    item = fields.text("item") if "item" in fields else ""
    if "schema" in fields:
        if more := [name for name in raw if name not in ("item", "schema")]:
            fields.fail(f"give schema or {more[0]}, not both")
        return CollectedSchema(_schema_in(fields.json("schema"), f"{where}.schema"), item)
    if not item:
        fields.fail("give an item and what it must be, or a schema for all that was collected")
    return CollectedItem(item, matcher_of(Fields(where, {n: v for n, v in raw.items() if n != "item"})))


def _schema_in(raw: Any, where: str) -> Mapping[str, Any]:
    load_validator()
    import jsonschema

    if not isinstance(raw, Mapping):
        refuse(where, "must be a JSON schema: a mapping such as {type: object}")
    try:
        jsonschema.Draft202012Validator.check_schema(raw)
    except jsonschema.SchemaError as error:
        refuse(where, f"is not a JSON schema: {error.message[:200]}")
    return raw
