"""Said checks: did the agent say it, as far as the user can have heard?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

from convai_lab.evaluation.check import Check, Found, Scene, plain
from convai_lab.evaluation.check_fields import Fields, shown, text_in

FIELDS = ("text", "any_of", "regex", "whole_word", "match_case")
UNSURE = "a turn was interrupted, and nobody knows how much of it was heard"


class Phrase(Protocol):
    """Something to find in what was said."""

    def found_in(self, text: str) -> str | None:
        """Return what was found, or None."""


@dataclass(frozen=True)
class Words:
    """Texts, one of which must be there, without regard to case."""

    texts: tuple[str, ...]

    @cached_property
    def folded(self) -> tuple[str, ...]:
        """The texts as they are looked for."""
        return tuple(text.casefold() for text in self.texts)

    def found_in(self, text: str) -> str | None:
        """Return the text that was found, as it was written."""
        said = text.casefold()
        return next((self.texts[at] for at, wanted in enumerate(self.folded) if wanted in said), None)

    def __str__(self) -> str:
        return " or ".join(shown(text) for text in self.texts)


@dataclass(frozen=True)
class Pattern:
    """A regular expression; `label` is how it is told."""

    pattern: re.Pattern[str]
    label: str

    def found_in(self, text: str) -> str | None:
        """Return what the expression found."""
        found = self.pattern.search(text)
        return found[0] if found else None

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True)
class Said:
    """Some turn of the agent contains it."""

    phrase: Phrase
    kind: ClassVar[str] = "said"

    @property
    def name(self) -> str:
        """What must have been said."""
        return f"said {self.phrase}"

    def run(self, scene: Scene) -> Found:
        """Look for it in every turn of the agent."""
        for text in scene.heard:
            if (found := self.phrase.found_in(text)) is not None:
                return Found(True, f"the agent said {shown(found)}")
        if _in_any(self.phrase, scene.perhaps_heard):
            return Found(None, UNSURE)
        return Found(False, f"the agent never said {self.phrase}" if scene.heard else "the agent said nothing")


@dataclass(frozen=True)
class NeverSaid:
    """No turn of the agent contains it."""

    phrase: Phrase
    kind: ClassVar[str] = "never_said"

    @property
    def name(self) -> str:
        """What must not have been said."""
        return f"never said {self.phrase}"

    def run(self, scene: Scene) -> Found:
        """Look for it in every turn of the agent."""
        for text in scene.heard:
            if (found := self.phrase.found_in(text)) is not None:
                return Found(False, f"the agent said {shown(found)}")
        if _in_any(self.phrase, scene.perhaps_heard):
            return Found(None, UNSURE)
        return Found(True, f"the agent did not say {self.phrase}")


def said(raw: Any, where: str) -> Check:
    """Read a `said` check."""
    return Said(phrase_in(raw, where))


def never_said(raw: Any, where: str) -> Check:
    """Read a `never_said` check."""
    return NeverSaid(phrase_in(raw, where))


def phrase_in(raw: Any, where: str) -> Phrase:
    """Read what to look for: a text, or a mapping with `text`, `any_of` or `regex` and options."""
    if not isinstance(raw, Mapping):
        return Words((plain(text_in(raw, where)),))
    fields = Fields(where, raw)
    fields.only(FIELDS)
    kind = fields.one_of(("text", "any_of", "regex"))
    whole, exact = fields.flag("whole_word", False), fields.flag("match_case", False)
    if kind == "regex":
        pattern = fields.pattern(kind, ignore_case=not exact)
        if whole:
            fields.fail("whole_word is for texts: write \\b into the regular expression")
        return Pattern(pattern, f"/{pattern.pattern}/")
    texts = [plain(text) for text in (fields.texts(kind) if kind == "any_of" else (fields.text(kind),))]
    if not whole and not exact:
        return Words(tuple(texts))
    return _pattern_of(texts, whole_word=whole, match_case=exact)


def _pattern_of(texts: Sequence[str], *, whole_word: bool, match_case: bool) -> Pattern:
    """Make an expression of texts; a whole word has no letter or digit beside it."""
    either = "|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True))
    source = rf"(?<!\w)(?:{either})(?!\w)" if whole_word else either
    label = " or ".join(shown(text) for text in texts)
    return Pattern(re.compile(source, 0 if match_case else re.IGNORECASE), label)


def _in_any(phrase: Phrase, texts: Sequence[str]) -> bool:
    return any(phrase.found_in(text) is not None for text in texts)
