"""Sentences: how does a text that is still being written become pieces that a voice can speak?

A piece is spoken as soon as it is complete. What is only for the eye (markdown, emoji) is left out of the speech,
and every spoken character knows its place in the text, so that what was heard can be told from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

MAX_CHARS = 240
"""A sentence longer than this is spoken in parts."""
FIRST_CLAUSE_CHARS = 24
"""The first piece of a reply may be a clause of at least so many characters, so that speech starts sooner."""

_CLOSERS = "\\)\\]\"'»”’*_`」』）】"
_END = re.compile(rf"[.!?…؟۔।]+[{_CLOSERS}]*(?=\s+\S)|[。！？｡]+[{_CLOSERS}]*|\n+")
_UNDECIDED = re.compile(rf"[.!?…؟۔।{_CLOSERS}\s]+\Z")
_CLAUSE = re.compile(r"[,;:](?=\s+\S)|\s[—–-](?=\s+\S)|[，；：、]")
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘*_]*\Z")
_ABBREVIATIONS = frozenset(
    """
    adj al approx apt ave bros ca capt cf col corp dept dr e.g eg est excl fig gen gov hon hr i.e ie incl lt max min
    mr mrs ms mt no nos nr op p.s pp prof pt ref rev sen sgt sr st tel univ usw vol vs z.b d.h bzw u.a sra dra
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
_SOMETIMES_LAST = frozenset(
    """
    a.m am p.m pm etc inc ltd co jr u.s u.k vs
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
_NUMBERING = re.compile(r"(?:^|\n)\s*\d{1,3}\Z")
_MARKUP = re.compile(
    r"""
    (?P<before>!?\[)(?P<label>[^\]\n]*)(?P<after>\]\([^)\s]*\))    # [label](address): the label is spoken
    | ^[ \t]{0,3}(?:\#{1,6}[ \t]+|>[ \t]?|[-*+][ \t]+|\|)          # how a line begins
    | ```[^\n]*\n? | ` | ~~ | \|
    | (?<!\d)\*+(?=\S) | (?<=\S)\*+(?!\d) | (?<!\w)_{1,3}(?=\S) | (?<=\S)_{1,3}(?!\w)
    | [\U0001F000-\U0001FAFF\u2600-\u27BF\u2B50\u2B55\uFE0E\uFE0F\u200D\u20E3\U000E0020-\U000E007F]
    """,
    re.VERBOSE | re.MULTILINE,
)


@dataclass(frozen=True)
class Sentence:
    """A piece of a text, and where in the text it begins; `text` is as written, `spoken` as a voice gets it."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """Return where in the text it ends."""
        return self.start + len(self.text)

    @property
    def spoken(self) -> str:
        """Return what is to be heard; empty when there is nothing to say."""
        return self._speech[0]

    def place_of(self, char: int) -> int:
        """Return where in the text the spoken character of that index stands."""
        places = self._speech[1]
        return self.end if char >= len(places) else self.start + places[max(0, char)]

    @cached_property
    def _speech(self) -> tuple[str, tuple[int, ...] | range]:
        text = self.text
        left = len(text) - len(text.lstrip())
        if not _MARKUP.search(text):
            spoken = text.strip()
            return (spoken, range(left, left + len(spoken))) if any(map(str.isalnum, spoken)) else ("", ())
        places = _spoken_places(text)
        spoken = "".join(text[place] for place in places)
        start, end = len(spoken) - len(spoken.lstrip()), len(spoken.rstrip())
        return (spoken[start:end], tuple(places[start:end])) if any(map(str.isalnum, spoken)) else ("", ())


@dataclass
class SentenceSplitter:
    """Cuts a growing text into sentences; together they are the text, in order and whole."""

    first_may_be_clause: bool = True
    _text: str = ""
    _start: int = 0
    _scanned: int = 0
    _done: list[Sentence] = field(default_factory=list)

    def feed(self, text: str) -> list[Sentence]:
        """Take more of the text and return the sentences that are complete now."""
        self._text += text
        while self._cut_one():
            pass
        done, self._done = self._done, []
        return done

    def flush(self) -> list[Sentence]:
        """Return what is left as a sentence, and be ready for more text: what comes next is another sentence."""
        self._scanned = 0
        done = self.feed("")
        if self._text:
            self._take(len(self._text))
        done, self._done = [*done, *self._done], []
        return done

    def _cut_one(self) -> bool:
        if (end := self._sentence_end()) is None and (end := self._early_end()) is None:
            return False
        self._take(end)
        return True

    def _sentence_end(self) -> int | None:
        for match in _END.finditer(self._text, self._scanned):
            if not self._goes_on(match):
                return match.end()
            self._scanned = match.end()
        undecided = _UNDECIDED.search(self._text, self._scanned)
        self._scanned = undecided.start() if undecided else len(self._text)
        return None

    def _early_end(self) -> int | None:
        """Return where to cut before the sentence ends: the first clause, or a sentence that is far too long."""
        is_first = self.first_may_be_clause and len(self._text) > FIRST_CLAUSE_CHARS
        if is_first and (match := _CLAUSE.search(self._text, FIRST_CLAUSE_CHARS)):
            return match.end()
        if len(self._text) <= MAX_CHARS:
            return None
        clauses = [match.end() for match in _CLAUSE.finditer(self._text, MAX_CHARS // 3, MAX_CHARS)]
        space = self._text.rfind(" ", MAX_CHARS // 3, MAX_CHARS)
        return clauses[-1] if clauses else (space + 1 if space > 0 else MAX_CHARS)

    def _goes_on(self, match: re.Match[str]) -> bool:
        """Say whether this is no end after all: an abbreviation, an initial, a number in a list."""
        mark, after = match.group(), self._text[match.end() :].lstrip()[:1]
        if not self._text[: match.end()].strip():
            return mark[0] != "\n" or match.end() == len(self._text)
        if mark[0] != ".":
            return mark[0] == "…" and after.islower()
        before = self._text[: match.start()]
        found = _LAST_WORD.search(before)
        word = found.group().lower() if found else ""
        is_initial = len(word) == 1 and word.isalpha() and before[-1:].isupper() and word != "i"
        if word in _ABBREVIATIONS or is_initial or _NUMBERING.search(before):
            return True
        return after.islower() and (word in _SOMETIMES_LAST or len(mark) > 1)

    def _take(self, end: int) -> None:
        sentence = Sentence(self._text[:end], self._start)
        self._text, self._start, self._scanned = self._text[end:], self._start + end, 0
        self.first_may_be_clause = self.first_may_be_clause and not sentence.spoken
        self._done.append(sentence)


def _spoken_places(text: str) -> list[int]:
    """Return the places of the characters that are spoken."""
    places: list[int] = []
    at = 0
    for match in _MARKUP.finditer(text):
        places.extend(range(at, match.start()))
        if match["label"] is not None:
            places.extend(range(*match.span("label")))
        at = match.end()
    places.extend(range(at, len(text)))
    return places
