"""Audio: formats, framing, rates and levels, with whatever people feed them."""

from __future__ import annotations

import math
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai_lab.errors import InvalidValueError, MissingPackageError
from convai_lab.voice.audio import (
    FORMAT_NAMES,
    PCM_RATES_HZ,
    AudioFormat,
    Framer,
    Resampler,
    Sound,
    first_audible,
    gain,
    mix,
    noise,
    resample,
    rms_dbfs,
    silence,
    tone,
)

PAIRS = [(8000, 16000), (16000, 8000), (48000, 16000), (16000, 48000), (22050, 16000), (16000, 24000), (44100, 16000)]


def samples(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2").astype(float)


# Formats and mu-law


def test_every_format_of_the_platform_is_known() -> None:
    assert [AudioFormat.parse(name).rate_hz for name in FORMAT_NAMES] == [*PCM_RATES_HZ, 8000]
    assert {AudioFormat.parse(name).sample_bytes for name in FORMAT_NAMES[:-1]} == {2}
    assert AudioFormat.parse("ulaw_8000").sample_bytes == 1


@pytest.mark.parametrize("name", ["pcm_11025", "mp3_44100_128", "ulaw_16000", "PCM_16000", "", "pcm_", None, 16000])
def test_an_unknown_format_is_refused_with_the_list_of_those_there_are(name: str) -> None:
    with pytest.raises(InvalidValueError, match=r"use one of pcm_8000, .*ulaw_8000"):
        AudioFormat.parse(name)


@given(st.binary(max_size=200).filter(lambda data: len(data) % 2 == 0))
def test_pcm_passes_unchanged_both_ways(pcm: bytes) -> None:
    audio = AudioFormat.parse("pcm_16000")
    assert audio.decode(audio.encode(pcm)) == pcm


@pytest.mark.parametrize("data", [b"x", b"xyz"])
def test_half_a_sample_is_refused_in_words(data: bytes) -> None:
    for act in (AudioFormat.parse("pcm_16000").decode, AudioFormat.parse("ulaw_8000").encode):
        with pytest.raises(InvalidValueError, match=r"\d bytes are not a whole number of 16-bit samples"):
            act(data)


def g711_value(code: int) -> int:
    """Decode one mu-law code as G.711 describes it: sign, segment, step, all bits inverted on the line."""
    code ^= 0xFF
    segment, step = (code >> 4) & 0b111, code & 0b1111
    magnitude = (2 * step + 33) * 2**segment - 33
    return (-magnitude if code & 0x80 else magnitude) * 4


def g711_code(sample: int) -> int:
    """Encode by G.711's decision values: a segment's steps double, and begin at 0, 31, 95, 223, 479 ..."""
    linear = sample >> 2
    magnitude, sign = (linear, 0x80) if linear >= 0 else (-linear, 0x00)
    begins = [0, *(2 ** (n + 5) - 33 for n in range(1, 8))]
    segment = max(n for n, begin in enumerate(begins) if magnitude >= begin)
    step = min(15, (magnitude - (2 ** (segment + 5) - 33)) // 2 ** (segment + 1))
    return sign | (0b111 - segment) << 4 | (15 - step)


def test_all_256_mu_law_codes_decode_as_g711_defines() -> None:
    decoded = AudioFormat.parse("ulaw_8000").decode(bytes(range(256)))
    assert list(struct.unpack("<256h", decoded)) == [g711_value(code) for code in range(256)]


def test_all_65536_samples_encode_as_g711_defines() -> None:
    every = list(range(-32768, 32768))
    encoded = AudioFormat.parse("ulaw_8000").encode(struct.pack("<65536h", *every))
    assert list(encoded) == [g711_code(sample) for sample in every]


def test_mu_law_is_what_the_standard_library_made_of_it_while_it_could() -> None:
    audioop = pytest.importorskip("audioop")
    every, codes = struct.pack("<65536h", *range(-32768, 32768)), bytes(range(256))
    assert AudioFormat.parse("ulaw_8000").encode(every) == audioop.lin2ulaw(every, 2)
    assert AudioFormat.parse("ulaw_8000").decode(codes) == audioop.ulaw2lin(codes, 2)


# Framing


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(1, 17))
def test_framing_loses_nothing_and_invents_nothing(chunks: list[bytes], size: int) -> None:
    framer = Framer(size)
    frames = [frame for chunk in chunks for frame in framer.feed(chunk)]
    assert all(len(frame) == size for frame in frames)
    assert b"".join(frames) + framer.flush() == b"".join(chunks)
    assert framer.flush() == b""


def test_single_bytes_and_five_megabytes_become_frames() -> None:
    pcm = np.random.default_rng(1).bytes(5_000_001)
    one, many = Framer(), Framer()
    assert [f for byte in pcm[:2000] for f in one.feed(bytes([byte]))] == many.feed(pcm)[:3]
    assert len(many.flush()) == 5_000_001 % 640


def test_odd_bytes_are_mended_without_cutting_frames() -> None:
    framer = Framer(2)
    assert [framer.whole(chunk) for chunk in (b"a", b"bcd", b"", b"e", b"f")] == [b"", b"abcd", b"", b"", b"ef"]


def test_a_frame_has_a_size() -> None:
    with pytest.raises(InvalidValueError, match="frame_bytes"):
        Framer(0)


# Rates


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
@pytest.mark.parametrize("hz", [200, 1000, 3000])
def test_a_tone_stays_the_same_tone_in_the_same_place(from_hz: int, to_hz: int, hz: float) -> None:
    changed, wanted = samples(resample(tone(hz, 1, from_hz), from_hz, to_hz)), samples(tone(hz, 1, to_hz))
    assert len(changed) == len(wanted)
    middle = slice(to_hz // 10, -to_hz // 10)
    assert np.std(changed[middle] - wanted[middle]) < np.std(wanted) * 10 ** (-60 / 20)


@pytest.mark.parametrize(("from_hz", "to_hz", "hz"), [(48000, 16000, 9500), (16000, 8000, 4800), (22050, 16000, 9500)])
def test_what_the_lower_rate_cannot_hold_does_not_fold_back(from_hz: int, to_hz: int, hz: float) -> None:
    changed = resample(tone(hz, 1, from_hz), from_hz, to_hz)
    assert rms_dbfs(changed[to_hz // 5 : -to_hz // 5]) < -12 - 60


@pytest.mark.parametrize(("from_hz", "to_hz"), [*PAIRS, (16000, 16000)])
@pytest.mark.parametrize("chunk", [1, 641, 5_000_000])
def test_chunks_of_any_size_give_the_same_sound(from_hz: int, to_hz: int, chunk: int) -> None:
    pcm = noise(0.2, from_hz, dbfs=-20, seed=3)
    resampler = Resampler(from_hz, to_hz)
    parts = [resampler.feed(pcm[at : at + chunk]) for at in range(0, len(pcm), chunk)]
    made, whole = samples(b"".join(parts) + resampler.flush()), samples(resample(pcm, from_hz, to_hz))
    assert len(made) == len(whole)
    assert abs(made - whole).max() <= 1


@pytest.mark.parametrize(("from_hz", "to_hz"), [*PAIRS, (16000, 44100), (8000, 48000), (24000, 24000)])
def test_a_stream_is_never_later_than_it_says(from_hz: int, to_hz: int) -> None:
    resampler = Resampler(from_hz, to_hz)
    frame, fed, made = noise(0.02, from_hz, dbfs=-20, seed=1), 0.0, 0.0
    for _ in range(100):
        made += len(resampler.feed(frame)) / 2 / to_hz
        fed += len(frame) / 2 / from_hz
        assert fed - made <= resampler.delay_secs + 1e-4
    made += len(resampler.flush()) / 2 / to_hz
    assert made == pytest.approx(fed, abs=1e-3)


def test_a_telephone_costs_three_milliseconds_and_a_browser_one_and_a_half() -> None:
    assert Resampler(8000, 16000).delay_secs == 0.003
    assert Resampler(48000, 16000).delay_secs == 0.0015


def test_a_flushed_resampler_starts_afresh() -> None:
    resampler, pcm = Resampler(16000, 8000), noise(0.1, dbfs=-20, seed=3)
    first = resampler.feed(pcm + b"x") + resampler.flush()
    assert resampler.feed(pcm) + resampler.flush() == first


def test_loud_sound_is_clipped_and_does_not_wrap_around() -> None:
    square = samples(tone(100, 0.5, 16000, dbfs=20))
    assert abs(samples(resample(square.astype("<i2").tobytes(), 16000, 48000))).min() >= 0
    high = resample(b"\xff\x7f" * 1600, 16000, 48000)
    assert samples(high)[300:-300].min() > 32000


@pytest.mark.parametrize("rate", [0, -16000, 3999, 10**9, 16000.0, True, None, "16000"])
def test_a_rate_that_cannot_be_is_refused_in_words(rate: int) -> None:
    with pytest.raises(InvalidValueError, match="rate_hz: a whole number from 4000 to 384000"):
        Resampler(16000, rate)


def test_without_soxr_the_common_rates_still_work_and_the_others_say_what_to_install() -> None:
    code = (
        "import sys; sys.modules['soxr'] = None\n"
        "from convai_lab.voice.audio import resample, tone\n"
        "assert len(resample(tone(440, 1, 48000), 48000, 16000)) == 32000\n"
        "resample(tone(440, 1, 44100), 44100, 16000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert MissingPackageError.__name__ in done.stderr
    assert "44100 to 16000 Hz needs the package soxr: pip install 'convai-lab[voice]'" in done.stderr


def test_importing_audio_loads_neither_numpy_nor_soxr() -> None:
    code = "import sys, convai_lab.voice.audio, convai_lab.voice.recording, convai_lab.providers.stub_speech;"
    done = subprocess.run(
        [sys.executable, "-c", code + "print({'numpy', 'soxr'} & set(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"


# Levels and making sound


def test_levels_are_told_against_full_scale() -> None:
    assert rms_dbfs(tone(1000, 1, dbfs=-20)) == pytest.approx(-20, abs=0.01)
    assert rms_dbfs(noise(1, dbfs=-30, seed=1)) == pytest.approx(-30, abs=0.2)
    assert rms_dbfs(gain(tone(1000, 1, dbfs=-20), -6)) == pytest.approx(-26, abs=0.01)
    assert rms_dbfs(b"\x00\x80" * 100) == 0
    assert rms_dbfs(silence(1)) == rms_dbfs(b"") == rms_dbfs(b"x") == -100


def test_the_first_audible_sample_is_found_behind_silence_and_hiss() -> None:
    hiss = noise(0.1, dbfs=-75, seed=1)
    assert first_audible(hiss + tone(4000, 0.1)) == pytest.approx(1600, abs=2)
    assert first_audible(hiss) is None
    assert first_audible(b"") is None
    assert first_audible(b"\x00\x80x") == 0


def test_mixing_adds_up_clips_and_lasts_as_long_as_the_longest() -> None:
    one, two = struct.pack("<3h", 1, 30000, -30000), struct.pack("<4h", 2, 30000, -30000, 7)
    assert struct.unpack("<4h", mix(one, two)) == (3, 32767, -32768, 7)
    assert mix() == b""
    assert gain(one, 40) == struct.pack("<3h", 100, 32767, -32768)


def test_the_same_seed_makes_the_same_noise() -> None:
    assert noise(0.1, dbfs=-20, seed=1) == noise(0.1, dbfs=-20, seed=1) != noise(0.1, dbfs=-20, seed=2)


@pytest.mark.parametrize("secs", [-1, math.nan, math.inf, 1e9])
def test_a_length_that_cannot_be_is_refused_in_words(secs: float) -> None:
    with pytest.raises(InvalidValueError, match="secs: a length is from 0 to"):
        silence(secs)


def test_a_sound_knows_its_length_and_does_not_print_its_samples() -> None:
    sound = Sound(tone(440, 1.5, 8000), 8000)
    assert (sound.secs, sound.at(16000).secs, repr(sound)) == (1.5, 1.5, "Sound(1.50 s at 8000 Hz)")
