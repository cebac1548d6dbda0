"""Interruption: does the user want the agent to stop speaking?

Sound alone comes first: after `HOLD_MS` of voiced speech the agent falls silent. Words decide: real ones make it an
interruption; a "mm-hm", a cough or the agent's own echo do not, and the agent goes on where it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from enum import Enum

from convai_lab.errors import ConvaiLabError
from convai_lab.voice.answering import Answering, Spawn
from convai_lab.voice.audio import SAMPLE_BYTES, SESSION_RATE_HZ
from convai_lab.voice.listening import Happening, Listener, Utterance
from convai_lab.voice.speaking import Mouth

HOLD_MS = 120
"""So much speech makes the agent pause; with the rounding to frames it is silent within 180 ms."""
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
        if words := words_of(text):
            if not self.is_ignorable(text, agent_text=agent_text) and speech_ms >= HOLD_MS:
                may_be_echo = len(words) < ECHO_WORDS and words[0] in words_of(agent_text) and speech_ms < CERTAIN_MS
                return Verdict.HOLD if may_be_echo else Verdict.INTERRUPT
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


class Floor:
    """Who has the floor: lets the agent fall silent, go on, or stop, by what is heard of the user meanwhile.

    `waiting` are turns of the user that were over before an agent that could not be interrupted; they are answered
    after it. `answer_to` starts the answer to a turn, `when_cut` hears that the agent was interrupted.
    """

    def __init__(
        self,
        *,
        listener: Listener,
        answering: Answering,
        mouth: Mouth,
        spawn: Spawn,
        answer_to: Callable[[Utterance], None],
        when_cut: Callable[[], None],
    ) -> None:
        self.waiting: list[Utterance] = []
        self.judge = Interruption()
        self._listener, self._answering, self._mouth = listener, answering, mouth
        self._spawn, self._answer_to, self._when_cut = spawn, answer_to, when_cut
        self._utterance: Utterance | None = None
        self._burst = -1

    @property
    def can_be_cut(self) -> bool:
        """Say whether the agent is speaking, or about to, and may be interrupted."""
        answer = self._answering.current
        return answer is not None and answer.is_interruptible and not self._answering.is_last

    def hear(self, frame: bytes) -> None:
        """Judge what a frame with the user's voice means for the agent that is speaking or about to."""
        detector = self._listener.detector
        if not self.can_be_cut:
            return
        if detector.burst_start != self._burst:
            self._burst = detector.burst_start
            self.judge.begin()
        self.judge.hear(frame)
        speech_ms = detector.burst_samples * 1000 / SESSION_RATE_HZ
        match self.judge.verdict(speech_ms, self._listener.text, agent_text=self._agent_text):
            case Verdict.HOLD:
                self._mouth.hold()
            case Verdict.INTERRUPT:
                self.take()

    def happened(self, happening: Happening) -> None:
        """Do what the listener's news asks for."""
        if happening == "started":
            self._utterance = self._listener.utterance
            return
        assert self._utterance is not None
        if happening == "noise":
            self._mouth.resume()
        elif happening == "paused" and self.can_be_cut:
            self._spawn(self._weigh(self._utterance))
        elif happening == "ended" and self._answering.current is None:
            self._answer_to(self._utterance)
        elif happening == "ended":
            self._spawn(self._overlapped(self._utterance))

    def take(self) -> None:
        """Give the floor to the user: the agent stops, and is told what was heard."""
        if self._answering.current is not None:
            self._answering.cut()
            self._when_cut()
        self._mouth.release()

    def is_for_agent(self, text: str, utterance: Utterance) -> bool:
        """Say whether a turn of the user is one: there are words, and not only a listener's noises over the agent."""
        if not text.strip():
            return False
        return not (utterance.over_agent and self.judge.is_ignorable(text, agent_text=self._answering.last_text))

    @property
    def _agent_text(self) -> str:
        answer = self._answering.current
        return answer.text if answer is not None else self._answering.last_text

    async def _weigh(self, utterance: Utterance) -> None:
        """Decide at a pause of the user whether they meant the agent."""
        is_meant = await self._is_meant(utterance)
        if self._utterance is not utterance:
            return
        if not self.can_be_cut:
            self._mouth.resume()  # it fell silent, and hung up meanwhile: the goodbye must be heard
        elif is_meant:
            self.take()
        elif self._listener.utterance is not utterance or utterance.is_paused:
            self._mouth.resume()

    async def _overlapped(self, utterance: Utterance) -> None:
        """Deal with a turn of the user that was over before the agent's."""
        if not await self._is_meant(utterance):
            self._mouth.resume()
        elif self.can_be_cut or self._answering.current is None:
            self.take()
            self._answer_to(utterance)
        else:
            self.waiting.append(utterance)
            self._mouth.resume()

    async def _is_meant(self, utterance: Utterance) -> bool:
        """Say whether there are words for the agent in what the user said so far."""
        try:
            text = (await utterance.final()).text
        except ConvaiLabError:
            return False
        return not self.judge.is_ignorable(text, agent_text=self._agent_text)


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
