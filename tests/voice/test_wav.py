"""WAV: files of every common shape are read, all others are refused in words."""

from __future__ import annotations

import contextlib
import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai_lab.errors import InvalidValueError
from convai_lab.voice.audio import Sound, read_wav, silence, tone, wav_bytes, write_wav


def samples(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2").astype(float)


def riff(fmt: bytes, data: bytes, *, extra: bytes = b"", size: int | None = None) -> bytes:
    body = b"WAVE" + extra + b"fmt " + struct.pack("<I", len(fmt)) + fmt
    body += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def fmt(encoding: int, channels: int, rate: int, bits: int, *, sub: int | None = None) -> bytes:
    head = struct.pack("<HHIIHH", encoding, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    return head if sub is None else head + struct.pack("<HHIH", 22, bits, 0, sub) + bytes(14)


WAVE_SHAPE = np.sin(np.arange(800) / 5) * 0.5
AS_INT16 = np.rint(WAVE_SHAPE * 32768)


def packed(bits: int, *, floating: bool = False) -> bytes:
    if floating:
        return WAVE_SHAPE.astype(f"<f{bits // 8}").tobytes()
    if bits == 8:
        return (np.rint(WAVE_SHAPE * 127) + 128).astype("u1").tobytes()
    whole = np.rint(WAVE_SHAPE * (2 ** (bits - 1) - 1)).astype("<i8")
    return b"".join(int(value).to_bytes(bits // 8, "little", signed=True) for value in whole)


@pytest.mark.parametrize(
    ("bits", "floating"), [(8, False), (16, False), (24, False), (32, False), (32, True), (64, True)]
)
@pytest.mark.parametrize("rate", [8000, 11025, 44100, 96000])
@pytest.mark.parametrize("extensible", [False, True])
def test_wav_files_of_every_common_shape_are_read(
    tmp_path: Path, bits: int, floating: bool, rate: int, extensible: bool
) -> None:
    encoding = 3 if floating else 1
    head = fmt(0xFFFE, 1, rate, bits, sub=encoding) if extensible else fmt(encoding, 1, rate, bits)
    (tmp_path / "a.wav").write_bytes(riff(head, packed(bits, floating=floating)))
    sound = read_wav(tmp_path / "a.wav")
    assert sound.rate_hz == rate
    assert abs(samples(sound.pcm) - AS_INT16).max() <= (300 if bits == 8 else 1.01)


def test_stereo_is_mixed_to_one_channel(tmp_path: Path) -> None:
    both = np.stack([np.full(100, 1000), np.full(100, 3000)], axis=1).astype("<i2").tobytes()
    (tmp_path / "a.wav").write_bytes(riff(fmt(1, 2, 16000, 16), both))
    assert set(samples(read_wav(tmp_path / "a.wav").pcm)) == {2000}


def test_a_file_longer_than_a_block_is_read_whole(tmp_path: Path) -> None:
    both = np.random.default_rng(1).integers(-9000, 9000, (600_000, 2)).astype("<i2")
    (tmp_path / "a.wav").write_bytes(riff(fmt(1, 2, 48000, 16), both.tobytes()))
    assert abs(samples(read_wav(tmp_path / "a.wav").pcm) - both.mean(axis=1)).max() <= 0.5


def test_what_is_written_is_read_back_also_by_others(tmp_path: Path) -> None:
    sound = Sound(tone(440, 0.3, 24000), 24000)
    write_wav(tmp_path / "a.wav", sound)
    assert read_wav(tmp_path / "a.wav") == sound
    with wave.open(io.BytesIO(wav_bytes(sound))) as other:
        assert (other.getnchannels(), other.getsampwidth(), other.getframerate()) == (1, 2, 24000)
        assert other.readframes(other.getnframes()) == sound.pcm


def test_other_chunks_odd_sizes_and_a_cut_end_do_not_matter(tmp_path: Path) -> None:
    content = riff(fmt(1, 1, 16000, 16), packed(16), extra=b"LIST" + struct.pack("<I", 3) + b"abc\0")
    (tmp_path / "a.wav").write_bytes(content)
    assert samples(read_wav(tmp_path / "a.wav").pcm).size == 800
    (tmp_path / "cut.wav").write_bytes(content[:-101])
    assert samples(read_wav(tmp_path / "cut.wav").pcm).size == 749


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
def test_a_file_that_was_streamed_and_does_not_know_its_size_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.wav").write_bytes(riff(fmt(1, 1, 16000, 16), packed(16), size=size))
    assert samples(read_wav(tmp_path / "a.wav").pcm).size == 800


def test_floats_that_are_no_numbers_are_silence_and_loud_ones_are_clipped(tmp_path: Path) -> None:
    odd = np.array([np.nan, np.inf, -np.inf, 7.0, -7.0, 0.5], dtype="<f4").tobytes()
    (tmp_path / "a.wav").write_bytes(riff(fmt(3, 1, 16000, 32), odd))
    assert list(samples(read_wav(tmp_path / "a.wav").pcm)) == [0, 32767, -32768, 32767, -32768, 16384]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty: only WAV files"),
        (b"ID3\x04 some song", "is an MP3 file: only WAV files"),
        (b"OggS....", "is an Ogg file"),
        (b"\0\0\0 ftypM4A ...", "is an MP4 file: .* ffmpeg -i IN OUT.wav"),
        (b"FORM....AIFF", "is an AIFF file"),
        (b"\x1aE\xdf\xa3....", "is a WebM file"),
        (b"hello, I am no sound at all", "is not a WAV file"),
        (b"RIFF\0\0\0\0WAVE", "is a damaged WAV file: it has no format"),
        (b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0abcd", "its format is cut off"),
        (b"RIFF\0\0\0\0WAVEdata\x04\0\0\0abcd", "its samples come before their format"),
        (riff(fmt(1, 1, 16000, 16), b"")[:-8], "it has no samples"),
        (riff(fmt(1, 1, 16000, 12), b"ab"), "encoding 1 and 12 bits"),
        (riff(fmt(0x55, 2, 44100, 16), b"ab"), "encoding 85 and 16 bits"),
        (riff(fmt(1, 0, 16000, 16), b"ab"), "0 channels at 16000 Hz"),
        (riff(fmt(1, 1, 0, 16), b"ab"), "1 channels at 0 Hz"),
        (riff(fmt(1, 6000, 16000, 16), b"ab"), "6000 channels"),
    ],
)
def test_what_is_no_wav_file_is_refused_in_words(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(InvalidValueError, match=words):
        read_wav(tmp_path / "a.wav")


@given(st.binary(max_size=120))
def test_no_bytes_crash_the_reader(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    path = tmp_path_factory.mktemp("junk") / "a.wav"
    for content in (junk, b"RIFF\0\0\0\0WAVE" + junk, riff(fmt(1, 1, 16000, 16), b"abcd")[:20] + junk):
        path.write_bytes(content)
        with contextlib.suppress(InvalidValueError):
            sound = read_wav(path)
            assert sound.rate_hz > 0
            assert len(sound.pcm) % 2 == 0


def test_a_file_that_is_far_too_large_is_refused_without_reading_it(tmp_path: Path) -> None:
    import tracemalloc

    with open(tmp_path / "large.wav", "wb") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    with pytest.raises(InvalidValueError, match="is larger than 512 MB, the limit here"):
        read_wav(tmp_path / "large.wav")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_missing_files_folders_and_long_sounds_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="cannot be read: No such file"):
        read_wav(tmp_path / "none.wav")
    with pytest.raises(InvalidValueError, match="cannot be read: Is a directory"):
        read_wav(tmp_path)
    write_wav(tmp_path / "long.wav", Sound(silence(3), 16000))
    with pytest.raises(InvalidValueError, match="lasts 3 seconds; the limit is 2"):
        read_wav(tmp_path / "long.wav", max_secs=2)
