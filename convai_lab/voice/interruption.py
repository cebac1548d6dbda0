"""Interruption: does the user want the agent to stop speaking?

Sound alone comes first: after `HOLD_MS` of voiced speech the agent falls silent. Words decide: real ones make it an
interruption; a "mm-hm", a cough or the agent's own echo do not, and the agent goes on where it was.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import Enum

from convai_lab.voice.audio import SAMPLE_BYTES, SESSION_RATE_HZ

HOLD_MS = 140
"""So much speech makes the agent pause; with the rounding to frames it is silent within 200 ms."""
VOICED_MS = 60
"""So much of that must be voiced: a cough is noise and has no pitch."""
CERTAIN_MS = 800
"""So much voiced speech is an interruption even when no words were recognised yet."""
PATIENT_MS = 1500
"""So much speech is one even when only ignored words were recognised so far."""
VOICED_FROM = 0.45
ECHO_WORDS = 2
ECHO_SHARE = 0.75

BACKCHANNELS = frozenset(
    """
    mm mmm mmhm mm-hm mhm mm-hmm mmhmm hm hmm hmmm uh uhm um er erm uh-huh uhhuh ah aha oh huh mhmm ähm hä
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
"""Sounds of a listener, which are no words; a turn's `ignore_terms` come on top."""

_WORD = re.compile(r"\w+(?:[-'’]\w+)*")
_PITCH_LAGS = (SESSION_RATE_HZ // 420, SESSION_RATE_HZ // 70)
_WINDOW = SESSION_RATE_HZ * 40 // 1000


class Verdict(Enum):
    """What the user's voice means for the agent that is speaking."""

    NOTHING = "nothing"
    HOLD = "hold"
    INTERRUPT = "interrupt"


class Interruption:
    """Judges one burst of the user's speech while the agent speaks."""

    def __init__(self, ignore_terms: Collection[str] = ()) -> None:
        self._ignored = [tuple(words_of(term)) for term in ignore_terms if words_of(term)]
        self._recent = b""
        self._voiced = 0

    def begin(self) -> None:
        """Start judging a new burst."""
        self._recent, self._voiced = b"", 0

    def hear(self, frame: bytes) -> None:
        """Take a frame with speech in it."""
        self._recent = (self._recent + frame)[-_WINDOW * SAMPLE_BYTES :]
        if len(self._recent) == _WINDOW * SAMPLE_BYTES and is_voiced(self._recent):
            self._voiced += len(frame) // SAMPLE_BYTES

    def verdict(self, speech_ms: float, text: str, *, agent_text: str) -> Verdict:
        """Say what so much speech means, with what was recognised of it so far and what the agent has been saying."""
        if words_of(text):
            if not self.is_ignorable(text, agent_text=agent_text) and speech_ms >= HOLD_MS:
                return Verdict.INTERRUPT if len(words_of(text)) > 1 or speech_ms >= 2 * HOLD_MS else Verdict.HOLD
            return Verdict.INTERRUPT if speech_ms >= PATIENT_MS and not is_echo(text, agent_text) else Verdict.NOTHING
        voiced_ms = self._voiced * 1000 / SESSION_RATE_HZ
        if speech_ms < HOLD_MS or voiced_ms < VOICED_MS:
            return Verdict.NOTHING
        return Verdict.INTERRUPT if min(speech_ms, voiced_ms * 2) >= CERTAIN_MS else Verdict.HOLD

    def is_ignorable(self, text: str, *, agent_text: str = "") -> bool:
        """Say whether nothing was said that is meant for the agent."""
        words = self._without_ignored(words_of(text))
        return not words or is_echo(text, agent_text)

    def _without_ignored(self, words: list[str]) -> list[str]:
        left: list[str] = []
        while words:
            term = next((term for term in self._ignored if tuple(words[: len(term)]) == term), None)
            if term is None and words[0] not in BACKCHANNELS:
                left.append(words[0])
            words = words[len(term) if term else 1 :]
        return left


def words_of(text: str) -> list[str]:
    """Return the words of a text without case and punctuation."""
    return [word.replace("’", "'") for word in _WORD.findall(text.casefold())]


def is_echo(text: str, agent_text: str) -> bool:
    """Say whether the words are the agent's own, come back through the user's microphone."""
    words, own = words_of(text), words_of(agent_text)
    if len(words) < ECHO_WORDS or not own:
        return False
    return _longest_run(words, own) >= max(ECHO_WORDS, ECHO_SHARE * len(words))


def is_voiced(pcm: bytes) -> bool:
    """Say whether a sound has a pitch, as vowels do; coughs, clicks and wind have none."""
    import numpy as np

    samples = np.frombuffer(pcm, dtype="<i2").astype("f4")
    samples -= samples.mean()
    power = float(samples @ samples)
    if power <= 0:
        return False
    spectrum = np.fft.rfft(samples, 2 * len(samples))
    correlation = np.fft.irfft(spectrum * np.conj(spectrum))[: _PITCH_LAGS[1] + 1]
    shortest, longest = _PITCH_LAGS
    overlap = 1 - np.arange(shortest, longest + 1) / len(samples)
    return bool((correlation[shortest : longest + 1] / overlap).max() >= VOICED_FROM * power)


def _longest_run(words: list[str], own: list[str]) -> int:
    """Return the length of the longest run of words that both have."""
    best, row = 0, [0] * (len(own) + 1)
    for word in words:
        previous, row = row, [0] * (len(own) + 1)
        for at, other in enumerate(own):
            if word == other:
                row[at + 1] = previous[at] + 1
                best = max(best, row[at + 1])
    return best
