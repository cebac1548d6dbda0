"""Decoding: what did pocketsphinx hear in one utterance, and how sure may one be?

Audio goes to the decoder in blocks of one size, whatever pieces it came in, and the decoder's front end starts anew
for every utterance, so that the same audio always gives the same words. What is long is decoded in sections, cut at
pauses: the last pass at the end of a section takes time with its length, and memory would grow without bound.

The decoder compares sounds after taking away what is constant in them: the microphone, the room, the noise (cepstral
mean). Left alone it assumes a mean and learns over minutes. Here the mean is estimated from the first 600 ms, half
way between what they say and a better assumption. Measured on 22 real recordings and four synthetic voices: with
noise at 20 dB 100 % of the sentences are right instead of 82 %, at 15 dB 86 % instead of 50 %, and the synthetic
voices lose half of their errors.
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

LOUD_SHARE = 0.25
"""A block is loud when its level is at least this share of what nine in ten blocks stay below (-12 dB)."""
FIRST_SAMPLES = 9600
"""Audio that is listened to before any of it is decoded."""
ASSUMED_MEAN = (50.0, 3.0, -1.0, *(0.0,) * 10)
ASSUMED_MEAN_FRAMES = 50
"""How many frames of 10 ms the assumption is worth beside what was measured."""
DECODER_MEAN_FRAMES = 500
"""How many frames the decoder itself holds its present mean for."""

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
    is_general: bool = False
    evidence: list[Evidence] = field(default_factory=list)
    """What each section's confidence was computed from; kept for calibration."""
    _words: list[HeardWord] = field(default_factory=list)
    _first: bytearray | None = field(default_factory=bytearray)
    _mean: str = ""
    _rest: bytes = b""
    _samples: int = 0
    _section_start: int = 0
    _loudest: float = 0.0
    _levels: list[float] = field(default_factory=list)
    _quiet_blocks: int = 0
    _open: bool = False

    @property
    def samples(self) -> int:
        """Return how much audio has been decoded."""
        return self._samples

    def feed(self, pcm: bytes) -> None:
        """Decode all whole blocks there are, once enough has come to know the channel."""
        if self._first is not None:
            self._first += pcm
            if len(self._first) < 2 * FIRST_SAMPLES:
                return
            pcm = self._learn_channel()
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
        if self._first:
            self.feed(self._learn_channel())
        if self._rest:
            padded = self._rest + bytes(2 * BLOCK_SAMPLES - len(self._rest))
            heard_samples = self._samples + len(self._rest) // 2
            self._rest = b""
            self._decode(padded)
            self._samples = heard_samples
        self._end_section()
        words = tuple(word._replace(end=min(word.end, self._samples)) for word in self._words)
        return Heard(words=words, confidence=self._confidence())

    def _learn_channel(self) -> bytes:
        """Return the audio that came first, after estimating the mean of its frames."""
        first, self._first = bytes(self._first or b""), None
        assumed = ",".join(map(str, ASSUMED_MEAN))
        self._restart(assumed)
        self.decoder.process_raw(first[: 2 * FIRST_SAMPLES], no_search=True)
        self.decoder.end_utt()
        mixed = [float(value) for value in self.decoder.get_cmn(True).split(",")]
        self._mean = _estimated_mean(mixed, frames=min(len(first) // 2, FIRST_SAMPLES) // FRAME_SAMPLES)
        return first

    def _restart(self, mean: str) -> None:
        """Open the decoder for new audio, with nothing left of what it heard before."""
        self.decoder.reinit_feat()
        self.decoder.set_cmn(mean)
        self.decoder.start_utt()

    def _decode(self, block: bytes) -> None:
        if not self._open:
            self._restart(self._mean)
            self._open, self._section_start = True, self._samples
            self._loudest, self._levels, self._quiet_blocks = 0.0, [], 0
        self.decoder.process_raw(block)
        self._samples += BLOCK_SAMPLES
        level = _level(block)
        self._loudest = max(self._loudest, level)
        self._levels.append(level)
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
        if evidence := _evidence(segments, self._levels):
            self.evidence.append(evidence)
            self._words += _words(segments, self._section_start)

    def _confidence(self) -> float | None:
        words = sum(evidence.words for evidence in self.evidence)
        if not words:
            return None
        sure = sum(confidence(evidence, is_general=self.is_general) * evidence.words for evidence in self.evidence)
        return round(sure / words, 3)


def _estimated_mean(mixed: list[float], *, frames: int) -> str:
    """Return the mean to decode with; `mixed` is the decoder's own, after its assumption and these frames."""
    values = []
    for assumed, value in zip(ASSUMED_MEAN, mixed, strict=True):
        total = (DECODER_MEAN_FRAMES + frames) * value - DECODER_MEAN_FRAMES * assumed
        values.append((total + ASSUMED_MEAN_FRAMES * assumed) / (frames + ASSUMED_MEAN_FRAMES))
    return ",".join(f"{value:.4f}" for value in values)


def _words(segments: list[Any], section_start: int) -> Iterator[HeardWord]:
    for segment in segments:
        if _is_word(segment.word):
            start = section_start + segment.start_frame * FRAME_SAMPLES
            end = section_start + (segment.end_frame + 1) * FRAME_SAMPLES
            yield HeardWord(_plain(segment.word), start, end)


def _evidence(segments: list[Any], levels: list[float]) -> Evidence | None:
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
        contrast_db=_contrast_db(levels),
        coverage=_coverage(spoken, levels),
    )


def _contrast_db(levels: list[float]) -> float:
    """Return how far the loud blocks are above the soft ones: 2 dB for steady noise, 15 and more for speech."""
    ordered = sorted(levels)
    soft, loud = ordered[len(ordered) // 10], ordered[len(ordered) * 9 // 10]
    return 20 * math.log10((loud + 1) / (soft + 1))


def _coverage(spoken: list[Any], levels: list[float]) -> float:
    """Return which share of the loud blocks belongs to words: little when a word was found in a stretch of noise."""
    loud_level = LOUD_SHARE * sorted(levels)[len(levels) * 9 // 10]
    loud = {block for block, level in enumerate(levels) if level >= loud_level}
    frames_a_block = BLOCK_SAMPLES // FRAME_SAMPLES
    covered = {frame // frames_a_block for word in spoken for frame in range(word.start_frame, word.end_frame + 1)}
    return len(loud & covered) / max(1, len(loud))


def _is_word(word: str) -> bool:
    return word[:1] not in ("<", "[")


def _plain(word: str) -> str:
    """Return a word without the number of its pronunciation."""
    return word.partition("(")[0]


def _level(block: bytes) -> float:
    samples = array.array("h", block)
    return float(max(max(samples), -min(samples)))
