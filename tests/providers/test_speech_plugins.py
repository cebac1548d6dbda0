"""What the plug-in engines do with the modules they are given; the real ones need weights that are not here."""

from __future__ import annotations

import json
import os
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from convai_lab import settings
from convai_lab.errors import InvalidValueError, MissingPackageError, ProviderError, ProviderRequestError
from convai_lab.providers.base import AudioChunk, Final, WordTime
from convai_lab.providers.offline_speech.installed import is_installed
from convai_lab.providers.plugin_engine import pick_voice
from convai_lab.providers.speech_plugins import FasterWhisperASR, KokoroTTS, PiperTTS, SherpaOnnxASR

SECOND = bytes(32000)


@pytest.fixture
def home() -> Path:
    return settings.home()


class FakeWhisper:
    """The parts of faster_whisper that the adapter uses."""

    def __init__(self, text: str = " two people", failure: Exception | None = None) -> None:
        self.text, self.failure = text, failure
        self.loaded: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[dict[str, Any]] = []
        self.threads: set[str] = set()

    def WhisperModel(self, path: str, **options: Any) -> FakeWhisper:
        self.loaded.append((path, options))
        return self

    def transcribe(self, audio: Any, **options: Any) -> tuple[Iterator[Any], Any]:
        self.threads.add(threading.current_thread().name)
        self.asked.append({"samples": len(audio), "kind": str(audio.dtype), **options})
        return self._segments(), SimpleNamespace(language="en")

    def _segments(self) -> Iterator[Any]:
        if self.failure:
            raise self.failure
        words = [
            SimpleNamespace(word=f" {word}", start=n * 0.5, end=n * 0.5 + 0.4, probability=0.9)
            for n, word in enumerate(self.text.split())
        ]
        yield SimpleNamespace(text=self.text, avg_logprob=-0.5, words=words)


class FakeSherpa:
    """The parts of sherpa_onnx that the adapter uses: it hears a word in every half second."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.OnlineRecognizer = self
        self.failure = failure
        self.made: dict[str, Any] = {}

    def from_transducer(self, **files: str) -> FakeSherpa:
        self.made = {"kind": "transducer", **files}
        return self

    def from_zipformer2_ctc(self, **files: str) -> FakeSherpa:
        self.made = {"kind": "ctc", **files}
        return self

    def create_stream(self) -> FakeSherpaStream:
        return FakeSherpaStream()

    def is_ready(self, stream: FakeSherpaStream) -> bool:
        return stream.samples - stream.decoded >= 8000

    def decode_stream(self, stream: FakeSherpaStream) -> None:
        if self.failure:
            raise self.failure
        stream.decoded += 8000

    def get_result(self, stream: FakeSherpaStream) -> str:
        return " ".join(f"word{n}" for n in range(stream.decoded // 8000))


class FakeSherpaStream:
    """Counts what it is given."""

    def __init__(self) -> None:
        self.samples = self.decoded = 0
        self.finished = False

    def accept_waveform(self, rate_hz: int, samples: Any) -> None:
        assert not self.finished
        self.samples += len(samples)

    def input_finished(self) -> None:
        self.finished = True


class FakePiper:
    """The parts of piper that the adapter uses: a sentence is a hundred samples for every character."""

    def __init__(self) -> None:
        self.PiperVoice, self.spoken, self.loaded, self.closed = self, [], [], 0

    def SynthesisConfig(self, **options: Any) -> dict[str, Any]:
        return options

    def load(self, path: str, config_path: str) -> FakePiper:
        self.loaded.append((path, config_path))
        return self

    def synthesize(self, text: str, config: Any) -> Iterator[Any]:
        self.spoken.append((text, config))
        try:
            for sentence in text.split("."):
                if sentence == "boom":
                    raise RuntimeError("onnx went wrong")
                yield SimpleNamespace(audio_int16_bytes=b"\1\0" * 100 * len(sentence))
        finally:
            self.closed += 1


class FakeKokoro:
    """The parts of kokoro_onnx that the adapter uses."""

    def __init__(self) -> None:
        self.rate_hz = 24000
        self.asked: list[tuple[Any, ...]] = []

    def Kokoro(self, model: str, voices: str) -> FakeKokoro:
        self.asked.append((model, voices))
        return self

    def get_voices(self) -> list[str]:
        return ["af_bella", "af_sky", "am_adam", "bm_george", "jf_alpha"]

    def create(self, text: str, voice: str, speed: float, lang: str) -> tuple[Any, int]:
        import numpy as np

        self.asked.append((text, voice, speed, lang))
        return np.array([0.0, 2.0, -2.0, float("nan"), 0.5], dtype=np.float32), self.rate_hz


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    def make(*names: str, rate_hz: int = 22050) -> Path:
        made = tmp_path / "weights"
        made.mkdir(exist_ok=True)
        for name in names:
            is_config = name.endswith(".onnx.json")
            (made / name).write_text(json.dumps({"audio": {"sample_rate": rate_hz}}) if is_config else "")
        return made

    return make


async def hear(asr: Any, pcm: bytes, *, step: int = 640, **options: Any) -> Final:
    stream = asr.open(**{"rate_hz": 16000, "language": "en", **options})
    for start in range(0, len(pcm), step):
        stream.feed(pcm[start : start + step])
    final = await stream.finish()
    assert await stream.finish() == final
    stream.abort()
    stream.abort()
    return final


async def say(tts: Any, text: str, **options: Any) -> bytes:
    pcm = b""
    async for piece in tts.synthesize(text, **{"voice": "George", **options}):
        assert isinstance(piece, AudioChunk)
        assert piece.start_sample == len(pcm) // 2
        pcm += piece.pcm
    return pcm


@pytest.mark.parametrize(
    ("engine", "command"),
    [(FasterWhisperASR, "whisper"), (SherpaOnnxASR, "sherpa"), (PiperTTS, "piper"), (KokoroTTS, "kokoro")],
)
def test_a_missing_package_and_missing_weights_are_one_sentence_each(engine: Any, command: str, home: Path) -> None:
    if not is_installed(engine.module_name):
        with pytest.raises(MissingPackageError, match=rf"pip install 'convai-lab\[{command}\]'"):
            engine("/nowhere")
    with pytest.raises(InvalidValueError, match=r"/nowhere/at/all is not there; nothing is downloaded"):
        engine("/nowhere/at/all", module=object())
    with pytest.raises(InvalidValueError, match=str(home / "voices" / engine.name)):
        engine(module=object())


def test_weights_are_found_in_the_data_folder(home: Path) -> None:
    place = home / "voices" / "faster-whisper" / "small"
    place.mkdir(parents=True)
    assert FasterWhisperASR("small", module=FakeWhisper()).path == place


async def test_whisper_hears_the_utterance_on_its_own_thread(folder: Callable[..., Path]) -> None:
    whisper = FakeWhisper()
    asr = FasterWhisperASR(folder(), module=whisper)
    assert whisper.loaded == []
    final = await hear(asr, SECOND, language="en-US", phrases=["Zoë", "table for two"])
    assert final == Final(
        text="two people", confidence=0.6065, words=(WordTime("two", 0, 6400), WordTime("people", 8000, 14400))
    )
    (path, options), (asked,) = whisper.loaded[0], whisper.asked
    assert (path, options["local_files_only"]) == (str(folder()), True)
    assert (asked["samples"], asked["kind"], asked["language"]) == (16000, "float32", "en")
    assert asked["hotwords"] == "Zoë, table for two"
    assert all(name.startswith("convai-faster-whisper") for name in whisper.threads)


async def test_weights_are_loaded_for_the_first_session_only_and_anew_when_they_change(
    folder: Callable[..., Path],
) -> None:
    whisper, place = FakeWhisper(), folder()
    for _session in range(3):
        assert (await hear(FasterWhisperASR(place, module=whisper), SECOND)).text == "two people"
    assert len(whisper.loaded) == 1
    os.utime(place, ns=(1, 1))
    await hear(FasterWhisperASR(place, module=whisper), SECOND)
    assert len(whisper.loaded) == 2


async def test_an_engine_that_fails_is_named_with_its_weights_and_may_be_used_again(
    folder: Callable[..., Path],
) -> None:
    whisper = FakeWhisper(failure=ValueError("bad\nmodel"))
    asr = FasterWhisperASR(folder(), module=whisper)
    with pytest.raises(ProviderError, match=r"faster-whisper: failed with .*weights \(ValueError: bad model\)"):
        await hear(asr, SECOND)
    whisper.failure = None
    assert (await hear(asr, SECOND)).text == "two people"


def test_whisper_takes_16_khz_only(folder: Callable[..., Path]) -> None:
    with pytest.raises(InvalidValueError, match="resample first"):
        FasterWhisperASR(folder(), module=FakeWhisper()).open(rate_hz=8000, language="en")


@pytest.mark.parametrize("step", [1, 639, 640, 6400, 64000])
async def test_sherpa_hears_the_same_however_it_is_fed(step: int, folder: Callable[..., Path]) -> None:
    sherpa = FakeSherpa()
    asr = SherpaOnnxASR(folder("tokens.txt", "model.onnx"), module=sherpa)
    assert (await hear(asr, SECOND, step=step)).text == "word0 word1 word2"
    assert sherpa.made["kind"] == "ctc"


async def test_sherpa_tells_words_while_they_are_spoken(folder: Callable[..., Path]) -> None:
    names = ("tokens.txt", "encoder.onnx", "encoder.int8.onnx", "decoder.onnx", "joiner.onnx")
    sherpa = FakeSherpa()
    asr = SherpaOnnxASR(folder(*names), module=sherpa)
    stream = asr.open(rate_hz=16000, language="en")
    assert stream.partial() is None
    stream.feed(SECOND)
    await asr.run(lambda: None)
    partial = stream.partial()
    assert partial is not None
    assert (partial.text, partial.stable_chars, partial.at_sample) == ("word0 word1", 6, 16000)
    assert sherpa.made["encoder"].endswith("encoder.int8.onnx")


async def test_an_aborted_utterance_is_nothing_and_nothing_fed_is_nothing(folder: Callable[..., Path]) -> None:
    asr = SherpaOnnxASR(folder("tokens.txt", "model.onnx"), module=FakeSherpa())
    stream = asr.open(rate_hz=16000, language="en")
    stream.feed(SECOND)
    stream.abort()
    stream.feed(SECOND)
    assert await stream.finish() == Final(text="")
    assert await hear(asr, b"") == Final(text="")


async def test_sherpa_that_fails_while_it_is_fed_says_so_at_the_end(folder: Callable[..., Path]) -> None:
    asr = SherpaOnnxASR(folder("tokens.txt", "model.onnx"), module=FakeSherpa(RuntimeError("no memory")))
    with pytest.raises(ProviderError, match="no memory"):
        await hear(asr, SECOND)


async def test_a_folder_without_a_model_is_told_by_name(folder: Callable[..., Path]) -> None:
    with pytest.raises(InvalidValueError, match=r"weights has no \*\.onnx"):
        await hear(SherpaOnnxASR(folder("tokens.txt"), module=FakeSherpa()), SECOND)


async def test_piper_speaks_with_the_rate_of_its_voice(folder: Callable[..., Path]) -> None:
    piper, made = FakePiper(), folder("en.onnx", "en.onnx.json", rate_hz=16000)
    tts = PiperTTS(made / "en.onnx", module=piper)
    assert await say(tts, "Hello there. You", speed=2) == b"\1\0" * 100 * 15
    assert tts.capabilities.rate_hz == 16000
    assert piper.loaded == [(str(made / "en.onnx"), str(made / "en.onnx.json"))]
    assert piper.spoken == [("Hello there. You", {"length_scale": 0.5})]
    assert await say(tts, "  ") == b""


async def test_piper_speaks_with_the_voice_that_is_named(folder: Callable[..., Path]) -> None:
    piper = FakePiper()
    tts = PiperTTS(folder("amy.onnx", "amy.onnx.json", "ryan.onnx", "ryan.onnx.json"), module=piper)
    assert tts.capabilities.voices == ("amy", "ryan")
    await say(tts, "Hi", voice="ryan")
    assert piper.loaded[0][0].endswith("ryan.onnx")
    with pytest.raises(ProviderRequestError, match="no voice called 'nobody'; there are amy, ryan"):
        await say(tts, "Hi", voice="nobody")
    with pytest.raises(InvalidValueError, match="speed"):
        await say(tts, "Hi", speed=9)


async def test_closing_the_speech_stops_piper_after_the_sentence(folder: Callable[..., Path]) -> None:
    piper = FakePiper()
    tts = PiperTTS(folder("en.onnx", "en.onnx.json"), module=piper)
    speech = tts.synthesize("One is long enough to be cut into chunks of sound.Two.boom", voice="George")
    await anext(speech)
    await speech.aclose()  # type: ignore[attr-defined]
    await tts.run(lambda: None)
    assert piper.closed == 1
    with pytest.raises(ProviderError, match="onnx went wrong"):
        await say(tts, "One.boom")


@pytest.mark.parametrize(
    ("files", "config", "words"),
    [
        ([], None, r"has no \*\.onnx"),
        (["a.onnx"], None, "configuration"),
        (["a.onnx"], "{not json", "configuration"),
        (["a.onnx"], '{"audio": {"sample_rate": "fast"}}', "configuration"),
        (["a.onnx"], '{"audio": 5}', "configuration"),
        (["a.onnx", "b.onnx", "b.onnx.json"], '{"audio": {"sample_rate": 8000}}', "different rates"),
    ],
)
def test_a_broken_piper_voice_is_told_by_name(
    files: list[str], config: str | None, words: str, folder: Callable[..., Path]
) -> None:
    made = folder(*files)
    if config is not None:
        (made / "a.onnx.json").write_text(config)
    with pytest.raises(InvalidValueError, match=words):
        PiperTTS(made, module=FakePiper())


async def test_kokoro_speaks_and_what_is_out_of_range_is_kept_in_bounds(folder: Callable[..., Path]) -> None:
    kokoro, made = FakeKokoro(), folder("kokoro.onnx", "voices.bin")
    tts = KokoroTTS(made, module=kokoro, language="pt-br")
    assert struct.unpack("<5h", await say(tts, "Oi", speed=1.5)) == (0, 32767, -32767, 0, 16383)
    assert kokoro.asked == [(str(made / "kokoro.onnx"), str(made / "voices.bin")), ("Oi", "bm_george", 1.5, "pt-br")]
    kokoro.rate_hz = 22050
    with pytest.raises(ProviderError, match="22050 Hz"):
        await say(tts, "Oi")
    (made / "voices.bin").unlink()
    with pytest.raises(InvalidValueError, match=r"kokoro\*\.onnx and voices\*\.bin"):
        KokoroTTS(made, module=kokoro)


def test_a_stand_in_has_the_same_register_and_never_changes() -> None:
    voices = FakeKokoro().get_voices()
    assert pick_voice("kokoro", "Adam", voices) == "am_adam"
    assert pick_voice("kokoro", "Eric", voices) in {"am_adam", "bm_george"}
    assert pick_voice("kokoro", "EXAVITQu4vr4xnSDxMaL", voices) == pick_voice("kokoro", "sarah", voices)
    assert pick_voice("kokoro", "sarah", voices) in {"af_bella", "af_sky"}
    assert pick_voice("kokoro", "jf_alpha", voices) == "jf_alpha"
