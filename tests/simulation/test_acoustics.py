"""A line changes sound by its settings and its seed, and by nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.errors import InvalidValueError
from convai_lab.simulation.acoustics import CONCEALMENT_DB, AcousticLine, Acoustics, find_acoustics
from convai_lab.voice.audio import FRAME_BYTES, gain, noise, rms_dbfs, silence, tone

SOUND = tone(440, 1.01, dbfs=-20)
BAD = Acoustics(noise_dbfs=-40, gain_db=-6, packet_loss=0.2)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    assert BAD.apply(SOUND, seed=3) == BAD.apply(SOUND, seed=3)
    assert BAD.apply(SOUND, seed=3) != BAD.apply(SOUND, seed=4)
    assert len(BAD.apply(SOUND)) == len(SOUND)


def test_a_perfect_line_changes_nothing() -> None:
    assert Acoustics().apply(SOUND) == SOUND
    assert Acoustics().apply(b"") == b""


def test_levels_are_what_is_asked_for() -> None:
    assert rms_dbfs(Acoustics(noise_dbfs=-40).apply(silence(2))) == pytest.approx(-40, abs=0.2)
    assert rms_dbfs(Acoustics(gain_db=-12).apply(SOUND)) == pytest.approx(rms_dbfs(SOUND) - 12, abs=0.2)


def frames(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm), FRAME_BYTES)]


def test_so_many_frames_are_lost_as_asked_for_and_the_one_before_is_heard_softer_again() -> None:
    sound = noise(20, dbfs=-20, seed=5)
    before, after = frames(sound), frames(Acoustics(packet_loss=0.3).apply(sound, seed=1))
    lost = [n for n in range(1, len(before)) if before[n] != after[n]]
    assert 0.25 < len(lost) / len(before) < 0.35
    assert all(after[n] == gain(after[n - 1], CONCEALMENT_DB) for n in lost)
    assert Acoustics(packet_loss=1.0).apply(sound) == bytes(len(sound))


def test_frames_arrive_late_and_in_order() -> None:
    line = AcousticLine(Acoustics(delay_ms=100, jitter_ms=60), seed=2)
    arrivals = [line.send(bytes(FRAME_BYTES), at=n * 0.02).at for n in range(200)]
    late = [at - n * 0.02 for n, at in enumerate(arrivals)]
    assert arrivals == sorted(arrivals)
    assert 0.1 <= min(late) < 0.12
    assert 0.14 < max(late) <= 0.1601


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"noise_dbfs": 3}, "acoustics.noise_dbfs: must be a number from -90.0 to 0.0, got 3"),
        ({"packet_loss": -0.1}, "acoustics.packet_loss: must be a number from 0.0 to 1.0"),
        ({"packet_loss": True}, "acoustics.packet_loss"),
        ({"jitter_ms": "much"}, "acoustics.jitter_ms"),
        ({"gain_db": float("nan")}, "acoustics.gain_db"),
        ({"echo": 1}, "acoustics.echo: is no such setting; they are noise_dbfs"),
        (3, "acoustics: must be a mapping such as"),
    ],
)
def test_what_cannot_be_is_refused_by_name(given: Any, told: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        find_acoustics(given)
    assert told in str(caught.value)
