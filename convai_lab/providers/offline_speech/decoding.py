"""Decoding: what did pocketsphinx hear in one utterance, and how sure may one be?

Audio goes to the decoder in blocks of one size, whatever pieces it came in, and the decoder's front end starts anew
for every utterance, so that the same audio always gives the same words. What is long is decoded in sections, cut at
pauses: the last pass at the end of a section costs 50 ms for each second of it, and memory would grow without bound.
"""

from __future__ import annotations

import array
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from convai_lab.providers.offline_speech.confidence import Evidence, confidence

RATE_HZ = 16000
BLOCK_SAMPLES = 320
FRAME_SAMPLES = 160
SECTION_SECS = 6.0
"""From here on a pause of 300 ms ends a section."""
LONG_SECTION_SECS = 10.0
"""From here on 100 ms do."""
LONGEST_SECTION_SECS = 16.0
"""Here it ends, also inside a word."""
PAUSE_BLOCKS, SHORT_PAUSE_BLOCKS = 15, 5
QUIET_SHARE = 0.08
"""A block is quiet when its level is less than this share of the loudest one's (-22 dB)."""

SMALLEST = 1e-300


class HeardWord(NamedTuple):
    """A recognised word with its first sample and the one after its last."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Heard:
    """All that was heard in an utterance."""

    words: tuple[HeardWord, ...]
    confidence: float | None

    @property
    def text(self) -> str:
        """Return the words."""
        return " ".join(word.text for word in self.words)


@dataclass
class Utterance:
    """One utterance in a decoder that nobody else uses meanwhile."""

    decoder: Any
    evidence: list[Evidence] = field(default_factory=list)
    """What each section's confidence was computed from; kept for calibration."""
    _words: list[HeardWord] = field(default_factory=list)
    _rest: bytes = b""
    _samples: int = 0
    _section_start: int = 0
    _loudest: float = 0.0
    _quiet_blocks: int = 0
    _open: bool = False

    @property
    def samples(self) -> int:
        """Return how much audio has been decoded."""
        return self._samples

    def feed(self, pcm: bytes) -> None:
        """Decode all whole blocks there are."""
        audio = self._rest + pcm
        whole = len(audio) - len(audio) % (2 * BLOCK_SAMPLES)
        self._rest = audio[whole:]
        for start in range(0, whole, 2 * BLOCK_SAMPLES):
            self._decode(audio[start : start + 2 * BLOCK_SAMPLES])

    def hypothesis(self) -> str:
        """Return the words so far."""
        hypothesis = self.decoder.hyp() if self._open else None
        newest = [_plain(word) for word in (hypothesis.hypstr.split() if hypothesis else ()) if _is_word(word)]
        return " ".join([*(word.text for word in self._words), *newest])

    def finish(self) -> Heard:
        """Decode what is left, and return all that was heard."""
        if self._rest:
            padded = self._rest + bytes(2 * BLOCK_SAMPLES - len(self._rest))
            heard_samples = self._samples + len(self._rest) // 2
            self._rest = b""
            self._decode(padded)
            self._samples = heard_samples
        self._end_section()
        words = tuple(word._replace(end=min(word.end, self._samples)) for word in self._words)
        return Heard(words=words, confidence=self._confidence())

    def abandon(self) -> None:
        """Leave the decoder ready for somebody else."""
        if self._open:
            self.decoder.end_utt()
            self._open = False

    def _decode(self, block: bytes) -> None:
        if not self._open:
            self.decoder.reinit_feat()
            self.decoder.start_utt()
            self._open, self._section_start, self._loudest, self._quiet_blocks = True, self._samples, 0.0, 0
        self.decoder.process_raw(block)
        self._samples += BLOCK_SAMPLES
        level = _level(block)
        self._loudest = max(self._loudest, level)
        self._quiet_blocks = self._quiet_blocks + 1 if level < QUIET_SHARE * self._loudest else 0
        if self._is_time_to_cut():
            self._end_section()

    def _is_time_to_cut(self) -> bool:
        secs = (self._samples - self._section_start) / RATE_HZ
        if secs < SECTION_SECS:
            return False
        needed = PAUSE_BLOCKS if secs < LONG_SECTION_SECS else SHORT_PAUSE_BLOCKS
        return self._quiet_blocks >= needed or secs >= LONGEST_SECTION_SECS

    def _end_section(self) -> None:
        if not self._open:
            return
        self.decoder.end_utt()
        self._open = False
        segments = list(self.decoder.seg() or ())
        if evidence := _evidence(segments):
            self.evidence.append(evidence)
            self._words += _words(segments, self._section_start)

    def _confidence(self) -> float | None:
        words = sum(evidence.words for evidence in self.evidence)
        if not words:
            return None
        sure = sum(confidence(evidence) * evidence.words for evidence in self.evidence)
        return round(sure / words, 3)


def _words(segments: list[Any], section_start: int) -> Iterator[HeardWord]:
    for segment in segments:
        if _is_word(segment.word):
            start = section_start + segment.start_frame * FRAME_SAMPLES
            end = section_start + (segment.end_frame + 1) * FRAME_SAMPLES
            yield HeardWord(_plain(segment.word), start, end)


def _evidence(segments: list[Any]) -> Evidence | None:
    """Return what the decoder says about its own words; the scores come as probabilities in a base of its own."""
    spoken = [segment for segment in segments if _is_word(segment.word)]
    if not spoken:
        return None
    frames = [segment.end_frame - segment.start_frame + 1 for segment in spoken]
    posteriors = [math.log(max(segment.prob, SMALLEST)) for segment in spoken]
    acoustic = [math.log(max(segment.ascore, SMALLEST)) for segment in spoken]
    return Evidence(
        words=len(spoken),
        language_score=sum(math.log(max(segment.lscore, SMALLEST)) for segment in spoken) / len(spoken),
        posterior=min(0.0, sum(posteriors) / len(spoken)),
        worst_posterior=min(0.0, *posteriors) if len(posteriors) > 1 else min(0.0, posteriors[0]),
        acoustic_score=sum(acoustic) / sum(frames),
        worst_acoustic_score=min(score / length for score, length in zip(acoustic, frames, strict=True)),
    )


def _is_word(word: str) -> bool:
    return word[:1] not in ("<", "[")


def _plain(word: str) -> str:
    """Return a word without the number of its pronunciation."""
    return word.partition("(")[0]


def _level(block: bytes) -> float:
    samples = array.array("h", block)
    return float(max(max(samples), -min(samples)))
