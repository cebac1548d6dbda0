"""VAD: speech, frame by frame, whatever number of samples the engine wants."""

from __future__ import annotations

import pytest

from convai_lab.providers.stub_speech import EnergyVAD, StubTTS
from convai_lab.voice.audio import FRAME_BYTES, silence, tone
from convai_lab.voice.vad import SpeechDetector, samples_of, secs_of


class Scripted:
    """Says what it is told, and keeps the frames it was given."""

    name, rate_hz = "scripted", 16000

    def __init__(self, hop: int, *answers: float) -> None:
        self.hop, self.answers, self.frames, self.resets = hop, list(answers), list[int](), 0

    def probability(self, frame: bytes) -> float:
        self.frames.append(len(frame))
        return self.answers.pop(0) if self.answers else 0.0

    def reset(self) -> None:
        self.resets += 1


@pytest.mark.parametrize("hop", [160, 256, 320, 512, 1024])
def test_every_engine_gets_frames_of_its_own_hop(hop: int) -> None:
    vad = Scripted(hop)
    detector = SpeechDetector(vad)
    for _ in range(100):
        detector.hear(bytes(FRAME_BYTES))
    assert set(vad.frames) == {2 * hop}
    assert len(vad.frames) == 32_000 // hop
    assert detector.position == 32_000


def test_a_burst_knows_where_it_began_and_how_much_speech_is_in_it() -> None:
    detector = SpeechDetector(EnergyVAD())
    for frame in (silence(0.1), tone(440, 0.2), silence(0.06), tone(440, 0.1)):
        for at in range(0, len(frame), FRAME_BYTES):
            detector.hear(frame[at : at + FRAME_BYTES])
    assert detector.burst_start == 1600
    assert detector.burst_samples == samples_of(300)
    assert detector.last_speech == detector.position == samples_of(460)


def test_a_longer_gap_ends_the_burst() -> None:
    detector = SpeechDetector(EnergyVAD())
    for frame in (tone(440, 0.2), silence(0.16)):
        for at in range(0, len(frame), FRAME_BYTES):
            detector.hear(frame[at : at + FRAME_BYTES])
    assert detector.burst_samples == 0
    assert detector.last_speech == samples_of(200)


def test_speech_ends_at_a_lower_probability_than_it_begins() -> None:
    detector = SpeechDetector(Scripted(320, 0.45, 0.6, 0.4, 0.3, 0.4))
    told = []
    for _ in range(5):
        detector.hear(bytes(640))
        told.append(detector.is_speech)
    assert told == [False, True, True, False, False]


def test_silence_in_one_piece_is_the_same_as_frame_by_frame() -> None:
    one, many = SpeechDetector(EnergyVAD()), SpeechDetector(EnergyVAD())
    for detector in (one, many):
        detector.hear(tone(440, 0.1))
    one.hear_silence(samples_of(400))
    for _ in range(20):
        many.hear_silence(320)
    assert (one.position, one.burst_samples, one.is_speech) == (many.position, many.burst_samples, many.is_speech)


def test_known_silence_is_not_shown_to_the_engine_which_starts_afresh() -> None:
    vad = Scripted(320, 0.9)
    detector = SpeechDetector(vad)
    detector.hear(bytes(640))
    detector.hear_silence(16_000)
    detector.hear_silence(16_000)
    assert (len(vad.frames), vad.resets, detector.probability) == (1, 1, 0.0)


def test_words_are_speech() -> None:
    detector = SpeechDetector(EnergyVAD())
    detector.hear(StubTTS().render("hello there")[0])
    assert detector.is_speech
    assert secs_of(detector.burst_samples) > 0.5


def test_the_end_of_speech_is_where_the_sound_ends_not_where_the_engine_notices() -> None:
    class Slow:
        """Goes on hearing speech for 80 ms after it ended, as real engines do."""

        name, rate_hz, hop = "slow", 16000, 320

        def __init__(self) -> None:
            self._left = 0

        def probability(self, frame: bytes) -> float:
            self._left = 4 if any(frame) else self._left - 1
            return 1.0 if self._left > 0 else 0.0

        def reset(self) -> None:
            self._left = 0

    detector = SpeechDetector(Slow())
    detector.hear(tone(300, 0.5) + bytes(2 * 3200))
    assert detector.last_speech == 8000 + 3 * 320
    assert detector.last_audible == 8000
