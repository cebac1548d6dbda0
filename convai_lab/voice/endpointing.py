"""Endpointing: has the user finished their turn?

Silence ends a turn. In mode ``turn`` what was said counts too: an unfinished sentence, or a number or name that is
being spelled out, is given more time, unless it is as long as the agent's phrases let expect. It counts audio, not
arrival times: frames may come in bursts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from convai_lab.agents.turn_taking import Eagerness, TurnTaking
from convai_lab.voice.expected_codes import ExpectedCodes, expected_codes

SILENCE_MS: Mapping[Eagerness, int] = {"eager": 250, "normal": 400, "patient": 800}
"""How long a silence ends a turn."""
UNFINISHED_MS: Mapping[Eagerness, int] = {"eager": 350, "normal": 700, "patient": 1200}
"""How much longer to wait when the sentence is not complete."""
SPELLING_MS: Mapping[Eagerness, int] = {"eager": 600, "normal": 1000, "patient": 1600}
"""How much longer to wait while a number, a code or a name is being spelled out."""
COMPLETE_DIGITS = 10
"""A number with so many digits is taken for complete, unless longer ones are expected."""

_WORDS = re.compile(r"[\w'’@.-]+")
_ENDS_SENTENCE = re.compile(r"[.!?。！？؟।][\"'”’)]*\s*\Z")
_TRAILS_OFF = re.compile(r"(?:\.\.\.|…|[,;:、，-])\s*\Z")
_LEADS_ON = frozenset(
    """
    a an the and or but because so if when while that which who whose to of in on at by for from with about into
    my your his her its our their this these those is are was were am be been i i'm we they it's he she can
    could would will should may might must do does did not have has had very really like want need than then as
    um uh er erm hmm well
    der die das den dem ein eine einen und oder aber weil wenn dass zu mit für von ich wir ist sind habe möchte
    el la los las un una y o pero porque que de en con para por mi es le les des et ou mais parce
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
_DIGITS = frozenset(
    """
    zero oh one two three four five six seven eight nine ten double triple null eins zwei drei vier fünf sechs sieben
    acht neun uno dos tres cuatro cinco seis siete ocho nueve
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
_SPELLING_WORDS = frozenset(
    """
    alpha alfa bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec
    romeo sierra tango uniform victor whiskey x-ray xray yankee zulu dash hyphen underscore at dot
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
_ANNOUNCES = re.compile(
    r"\b(?:number|code|id|zip|postcode|pin|e-?mail|address|spell(?:ed|ing|s)?|account|card|reference|is|it's)\W*\Z",
    re.I,
)
_ASKS = re.compile(r"(?:so |and |but )?(?:what|how)(?:['’]s|['’]re| is| are| was| were| does| do)\b.*\blike\Z", re.I)
"""Questions that end in a word with which other sentences go on."""
_HOURS = _DIGITS | {"eleven", "twelve", "fifteen", "twenty", "thirty", "forty", "fifty", "o'clock", "past"}
_NOTHING_EXPECTED = ExpectedCodes()


def silence_ms(turn: TurnTaking, text: str = "", *, expected: ExpectedCodes = _NOTHING_EXPECTED) -> int:
    """Return how many milliseconds of silence end the turn, given what was said so far and what is expected."""
    base = SILENCE_MS[turn.eagerness]
    if turn.mode != "turn" or not text.strip() or expected.is_complete(text, _is_coded):
        return base
    if turn.spelling_patience == "auto" and is_spelling(text, complete=max(COMPLETE_DIGITS, expected.most)):
        return base + SPELLING_MS[turn.eagerness]
    return base + UNFINISHED_MS[turn.eagerness] if is_unfinished(text) else base


def is_unfinished(text: str) -> bool:
    """Say whether a sentence sounds as if it went on: "I would like to", "my order and"."""
    if _TRAILS_OFF.search(text):
        return True
    if _ENDS_SENTENCE.search(text):
        return False
    words = _WORDS.findall(text.lower())
    leads_on = bool(words) and words[-1].replace("’", "'") in _LEADS_ON
    return leads_on and not (_is_answer(words) or _ASKS.match(text))


def is_spelling(text: str, *, complete: int = COMPLETE_DIGITS) -> bool:
    """Say whether a number or a word is being spelled out and may go on: "it is one two", "B as in bravo, E".

    A number of `complete` digits does not go on.
    """
    words = [word.strip(".-") for word in _WORDS.findall(text.lower())]
    if _is_hour(words):
        return False
    tail = 0
    for word in reversed(words):
        if not _is_spelled(word):
            break
        tail += len(word) if word.isdigit() else 1
    if tail == 0 or tail >= complete:
        return False
    announced = _ANNOUNCES.search(" ".join(words[: len(words) - _spelled_words(words)]))
    return tail >= 2 or (words[-1] not in ("a", "i", "at") and bool(announced)) or _is_letter(" ".join(words))


def _is_hour(words: list[str]) -> bool:
    """Say whether they end in the time of day: "two thirty p m"."""
    return words[-2:] in (["a", "m"], ["p", "m"]) and len(words) > 2 and (words[-3] in _HOURS or words[-3].isdigit())


class Endpointer:
    """Decides that the user's turn is over once enough audio in a row was silent; `phrases` are what is expected."""

    def __init__(self, turn: TurnTaking, phrases: tuple[str, ...] = ()) -> None:
        self._turn, self._expected = turn, expected_codes(phrases, _is_coded)
        self._text, self._wait_ms = "", silence_ms(turn)

    @property
    def reads(self) -> bool:
        """Say whether words count."""
        return self._turn.mode == "turn"

    @property
    def wait_ms(self) -> int:
        """Return how long a silence would end the turn now."""
        return self._wait_ms

    def read(self, text: str) -> None:
        """Take in what the user has said so far."""
        if text != self._text:
            self._text, self._wait_ms = text, silence_ms(self._turn, text, expected=self._expected)

    def is_over(self, quiet_ms: float) -> bool:
        """Say whether so much silence ends the turn."""
        return quiet_ms >= self._wait_ms


def _is_answer(words: list[str]) -> bool:
    """Say whether these few words are an answer all the same: "yes I do", "no it's not", "well"."""
    return len(words) == 1 or (len(words) <= 4 and words[0] in ("yes", "no", "yeah", "sure"))


def _is_letter(word: str) -> bool:
    return len(word) == 1 and word.isalpha() and word.isascii() and word not in ("a", "i")


def _is_spelled(word: str) -> bool:
    return _is_coded(word) or word in _SPELLING_WORDS


def _is_coded(word: str) -> bool:
    return word.isdigit() or word in _DIGITS or (len(word) == 1 and word.isalpha() and word.isascii())


def _spelled_words(words: list[str]) -> int:
    """Return how many words at the end are spelled ones."""
    for count, word in enumerate(reversed(words)):
        if not _is_spelled(word):
            return count
    return len(words)
