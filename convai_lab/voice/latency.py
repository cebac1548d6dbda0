"""Latency: where did the time between the user's last word and the agent's first one go?

The waterfall of one reply: endpointing, recognition, the model's first token, its first sentence, the voice's first
byte, playout, and the way between the user and this process, where somebody measures it. A stage counts only while
somebody waited for it: what of it ran inside an earlier stage (recognition finished speculatively during the
endpointing wait, a model asked before the turn was surely over) was hidden from the user and is not counted. What no
stage explains is `unexplained_ms`, so that the bars add up to the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, get_args

from convai_lab.conversations.turn import TurnMetrics
from convai_lab.errors import InvalidValueError

Instant = Literal[
    "speech_ended",
    "endpoint",
    "asr_asked",
    "asr_final",
    "llm_asked",
    "llm_first_token",
    "first_sentence",
    "tts_asked",
    "tts_first_byte",
    "audible",
]
"""The instants of a reply: the end of the user's speech in the audio, the endpoint decided, the recogniser asked for
its final and that final, the model asked and its first token (text or a tool call), the first sentence complete, the
voice asked and its first byte, the first audible sample of the agent played."""

INSTANTS: tuple[Instant, ...] = get_args(Instant)
STEPS_A_MILLISECOND = 8
"""Times are whole eighths of a millisecond: such floats add up exactly."""


class Stage(NamedTuple):
    """One bar of the waterfall: its name, and how long somebody waited for it; None when not measured."""

    name: str
    ms: float | None


_STAGES: tuple[tuple[str, Instant | None, Instant], ...] = (
    ("endpointing", None, "endpoint"),
    ("asr", "asr_asked", "asr_final"),
    ("llm_ttft", "llm_asked", "llm_first_token"),
    ("first_sentence", "llm_first_token", "first_sentence"),
    ("tts_ttfb", "tts_asked", "tts_first_byte"),
    ("playout", "tts_first_byte", "audible"),
)
"""Every stage with the instants at which it begins and ends; where the beginning is unknown, it is the end of the
stage before it. A stage that begins where another ends was not measured unless that end was."""

_ENDS = frozenset(ends for _, _, ends in _STAGES)


@dataclass
class ReplyLatency:
    """Collects the instants of one reply, in seconds on one clock, and tells the waterfall.

    Example:
        >>> times = ReplyLatency()
        >>> times.mark("speech_ended", 2.0)
        >>> times.mark("endpoint", 2.5)
        >>> times.mark("audible", 2.75)
        >>> times.metrics().endpointing_ms, times.metrics().unexplained_ms
        (500.0, 250.0)
    """

    instants: dict[Instant, float] = field(default_factory=dict)
    transport_ms: float | None = None
    """How long the user's last sound took to us and the agent's first one to the user; None when not measured."""

    def mark(self, instant: Instant, at: float) -> None:
        """Note when something happened; only the first time counts.

        Raises:
            InvalidValueError: There is no such instant, or `at` is no number.
        """
        if instant not in INSTANTS:
            raise InvalidValueError(f"no instant of a reply is called {instant!r}: {', '.join(INSTANTS)}")
        if not math.isfinite(at):
            raise InvalidValueError(f"an instant is a number of seconds, got {at}", field=instant)
        self.instants.setdefault(instant, at)

    def stages(self) -> tuple[Stage, ...]:
        """Return all stages in order; together with `unexplained_ms` of what they leave, they fill the wait."""
        transport = Stage("transport", _millis(self._transport_steps()))
        return (*(Stage(name, _millis(steps)) for name, steps in self._steps().items()), transport)

    def metrics(self, measured: TurnMetrics | None = None) -> TurnMetrics:
        """Return `measured` (the turn's metrics so far) with the times of the voice, None where not measured.

        The stages and `unexplained_ms` add up to `voice_to_voice_ms`, exactly; a stage that was not measured is left
        out of the sum, and its time is unexplained. Instants are those of this process: `transport_ms` comes on top
        of the wait between them, and where it was not measured, nothing does. A reply that became audible before
        the user had stopped speaking has no voice-to-voice latency, nor has one that was never heard or answers
        typed text; the model's own figure then stays.
        """
        measured, steps, total = measured or TurnMetrics(), self._steps(), self._total_steps()
        known = {name: _millis(waited) for name, waited in steps.items()}
        unexplained = None if total is None else total - sum(waited or 0 for waited in steps.values())
        transport = self._transport_steps()
        return replace(
            measured,
            endpointing_ms=known["endpointing"],
            asr_ms=known["asr"],
            llm_ttft_ms=measured.llm_ttft_ms if total is None and known["llm_ttft"] is None else known["llm_ttft"],
            first_sentence_ms=known["first_sentence"],
            tts_ttfb_ms=known["tts_ttfb"],
            playout_ms=known["playout"],
            transport_ms=_millis(transport),
            voice_to_voice_ms=None if total is None else _millis(total + (transport or 0)),
            unexplained_ms=_millis(unexplained),
        )

    def _transport_steps(self) -> int | None:
        return None if self.transport_ms is None else round(self.transport_ms * STEPS_A_MILLISECOND)

    def _total_steps(self) -> int | None:
        begin, end = self._at("speech_ended"), self._at("audible")
        return None if begin is None or end is None or end < begin else end - begin

    def _steps(self) -> dict[str, int | None]:
        """Return how long each stage was waited for; they never overlap and never outlast the wait itself."""
        waited: dict[str, int | None] = {}
        done, audible = self._at("speech_ended"), self._at("audible")
        if self._total_steps() is None:
            audible = None
        for name, begins, ends in _STAGES:
            begin, end = (self._at(begins) if begins else None), self._at(ends)
            if end is None or (begin is None and (done is None or begins in _ENDS)):
                waited[name] = None
                continue
            limit = end if audible is None else min(end, audible)
            start = max(known for known in (begin, done) if known is not None)
            waited[name] = max(0, limit - start)
            done = max(start, limit)
        return waited

    def _at(self, instant: Instant) -> int | None:
        at = self.instants.get(instant)
        return None if at is None else round(at * 1000 * STEPS_A_MILLISECOND)


def _millis(steps: int | None) -> float | None:
    return None if steps is None else steps / STEPS_A_MILLISECOND
