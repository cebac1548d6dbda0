"""An utterance of any length is heard in sections, with word times that count from its start."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from convai_lab.providers.offline_speech.decoding import (
    BLOCK_SAMPLES,
    FRAME_SAMPLES,
    LONGEST_SECTION_SECS,
    RATE_HZ,
    SECTION_SECS,
    Utterance,
)

LOUD = struct.pack("<h", 8000) * RATE_HZ
QUIET = struct.pack("<h", 5) * RATE_HZ
TEN_MINUTES = 600


class _Segment(NamedTuple):
    word: str
    start_frame: int
    end_frame: int
    prob: float = 1.0
    ascore: float = 1.0
    lscore: float = 1.0


@dataclass
class CountingDecoder:
    """Hears one word in every section, which is all of it, and keeps what it was given."""

    frames: int = 0
    sections: list[int] = field(default_factory=list)

    def reinit_feat(self) -> None:
        """Start anew."""

    def set_cmn(self, mean: str) -> None:
        assert len(mean.split(",")) == 13

    def get_cmn(self, update: bool) -> str:
        return ",".join(["1.0"] * 13)

    def start_utt(self) -> None:
        self.frames = 0

    def process_raw(self, pcm: bytes, *, no_search: bool = False) -> None:
        if not no_search:
            assert len(pcm) == 2 * BLOCK_SAMPLES, "whole blocks only"
            self.frames += len(pcm) // 2 // FRAME_SAMPLES

    def end_utt(self) -> None:
        if self.frames:
            self.sections.append(self.frames)

    def hyp(self) -> None:
        return None

    def seg(self) -> list[_Segment]:
        return [_Segment("word(2)", 0, self.frames - 1), _Segment("</s>", self.frames - 1, self.frames - 1)]


def _heard(*audio: bytes) -> tuple[Utterance, CountingDecoder]:
    decoder = CountingDecoder()
    utterance = Utterance(decoder)
    for piece in audio:
        utterance.feed(piece)
    return utterance, decoder


def test_a_monologue_without_a_pause_is_cut_into_sections_of_a_bounded_length() -> None:
    utterance, decoder = _heard(*[LOUD] * TEN_MINUTES)
    heard = utterance.finish()
    assert max(decoder.sections) * FRAME_SAMPLES <= LONGEST_SECTION_SECS * RATE_HZ
    assert len(heard.words) == len(decoder.sections) == -(-TEN_MINUTES // int(LONGEST_SECTION_SECS))
    assert heard.words[0].start == 0
    assert [word.start for word in heard.words[1:]] == [word.end for word in heard.words[:-1]], "nothing is lost"
    assert heard.words[-1].end == TEN_MINUTES * RATE_HZ
    assert len(utterance._levels) <= LONGEST_SECTION_SECS * RATE_HZ / BLOCK_SAMPLES, "memory does not grow with length"


def test_a_pause_ends_a_section_once_it_is_long_enough() -> None:
    utterance, decoder = _heard(LOUD * 2, QUIET, LOUD * 4, QUIET, LOUD)
    assert len(utterance.finish().words) == 2
    assert SECTION_SECS < decoder.sections[0] * FRAME_SAMPLES / RATE_HZ < SECTION_SECS + 2


@pytest.mark.parametrize("samples", [1, 159, 160, 319, 320, 9599, 9600, 9601, 16_001])
def test_the_last_samples_are_heard_and_no_word_ends_after_them(samples: int) -> None:
    utterance, _ = _heard((LOUD * 2)[: 2 * samples])
    heard = utterance.finish()
    assert utterance.samples == samples
    assert [(word.text, word.start, word.end) for word in heard.words] == [("word", 0, samples)]


def test_words_of_finished_sections_stay_in_the_belief() -> None:
    utterance, decoder = _heard(*[LOUD] * 40)
    assert utterance.hypothesis() == " ".join(["word"] * len(decoder.sections))
    assert len(decoder.sections) == 2


def test_nothing_is_no_words() -> None:
    utterance, _ = _heard(b"")
    assert utterance.finish().words == ()
    assert utterance.samples == 0
