"""Speech plug-ins: how are engines used that somebody has installed, with weights that lie on this machine?

faster-whisper, sherpa-onnx, piper and kokoro, each behind its documented interface. Nothing is ever downloaded: weights
lie in ``voices/<engine>`` of the data folder, or where the name says (``piper//models/en.onnx``). The adapters were
written against the projects' documentation and sources, and tested with small stand-ins for their modules; they have
not been run with real weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from convai_lab.clock import Clock
from convai_lab.errors import InvalidValueError, ProviderError
from convai_lab.providers.base import ASRCapabilities, ASRStream, Final, Partial, TTSCapabilities, WordTime
from convai_lab.providers.plugin_engine import Plugin, PluginTTS, floats_of, pick_voice, samples_of
from convai_lab.providers.utterance import (
    WholeSamples,
    WholeUtterance,
    base_language,
    check_rate,
    confidence,
    key_terms,
    sample_at,
)

TAIL_SECS = 0.5
"""Silence after an utterance, without which a streaming recogniser keeps its last word to itself."""
WHISPER_RATE_HZ = 16000
KOKORO_RATE_HZ = 24000
KOKORO_LANGUAGES = {"en": "en-us", "es": "es", "fr": "fr-fr", "hi": "hi", "it": "it", "ja": "ja", "pt": "pt-br",
                    "zh": "cmn"}  # fmt: skip


class FasterWhisperASR(Plugin):
    """Recognises whole utterances with faster-whisper; the weights are a folder of a converted Whisper model."""

    name = "faster-whisper"
    package, module_name, extra = "faster-whisper", "faster_whisper", "whisper"
    weights = "the folder of a converted Whisper model (model.bin, config.json, tokenizer.json)"
    capabilities = ASRCapabilities(streaming=False, partials=False, word_times=True, languages=(), biasing="phrases")

    def load(self, module: Any) -> Any:
        """Load the model from its folder."""
        return module.WhisperModel(str(self.path), device="auto", compute_type="default", local_files_only=True)

    def open(self, *, rate_hz: int, language: str, phrases: Sequence[str] = ()) -> ASRStream:
        """Start an utterance, which is recognised when it ends.

        Raises:
            InvalidValueError: The rate is not 16 kHz.
        """
        check_rate(rate_hz, allowed=(WHISPER_RATE_HZ,))

        async def recognise(pcm: bytes) -> Final:
            return await self.run(lambda: self._transcribe(pcm, base_language(language), phrases))

        return WholeUtterance(recognise)

    def _transcribe(self, pcm: bytes, language: str, phrases: Sequence[str]) -> Final:
        found, _ = self.engine().transcribe(
            floats_of(pcm),
            language=language or None,
            word_timestamps=True,
            condition_on_previous_text=False,
            hotwords=", ".join(key_terms(phrases, most=50, longest=60)) or None,
        )
        segments = list(found)
        words = [word for segment in segments for word in segment.words or ()]
        return Final(
            text="".join(segment.text for segment in segments).strip(),
            confidence=confidence(segment.avg_logprob for segment in segments),
            words=tuple(_word_time(word) for word in words if word.word.strip()),
        )


class SherpaOnnxASR(Plugin):
    """Recognises speech while it is spoken with sherpa-onnx; the weights are the folder of a streaming model.

    A folder with an encoder, a decoder and a joiner is a transducer; one with a single model is a zipformer with CTC.
    """

    name = "sherpa-onnx"
    package, module_name, extra = "sherpa-onnx", "sherpa_onnx", "sherpa"
    weights = "the folder of a streaming model (tokens.txt and its .onnx files)"
    capabilities = ASRCapabilities(streaming=True, partials=True, word_times=False, languages=())

    def load(self, module: Any) -> Any:
        """Load the recogniser from the files in the folder."""
        tokens = str(self._file("tokens*.txt"))
        if any(self.path.glob("*encoder*.onnx")):
            parts = {part: str(self._file(f"*{part}*.onnx")) for part in ("encoder", "decoder", "joiner")}
            return module.OnlineRecognizer.from_transducer(tokens=tokens, **parts)
        return module.OnlineRecognizer.from_zipformer2_ctc(tokens=tokens, model=str(self._file("*.onnx")))

    def open(self, *, rate_hz: int, language: str, phrases: Sequence[str] = ()) -> ASRStream:  # noqa: ARG002
        """Start an utterance; the model decides the language.

        Raises:
            InvalidValueError: The rate is not one.
        """
        check_rate(rate_hz)
        return _SherpaStream(self, rate_hz)

    def _file(self, pattern: str) -> Path:
        found = sorted(self.path.glob(pattern), key=lambda file: (".int8." not in file.name, file.name))
        if not found:
            raise InvalidValueError(f"{self.path} has no {pattern}; it must hold {self.weights}", field=self.name)
        return found[0]


class _SherpaStream:
    """One utterance; the engine's thread does the work in the order in which it was fed."""

    def __init__(self, plugin: SherpaOnnxASR, rate_hz: int) -> None:
        self._plugin, self._rate_hz = plugin, rate_hz
        self._samples = WholeSamples()
        self._stream: Any = None
        self._newest: Partial | None = None
        self._heard = 0
        self._failure: BaseException | None = None
        self._final: Final | None = None
        self._aborted = self._ending = False

    def feed(self, pcm: bytes) -> None:
        """Queue some audio for the engine's thread."""
        if (pcm := self._samples.feed(pcm)) and not self._aborted and not self._ending:
            self._plugin.begin(lambda: self._accept(pcm))

    def partial(self) -> Partial | None:
        """Return the newest words: all but the last are decided, as the engine never takes a token back."""
        return self._newest

    async def finish(self) -> Final:
        """Return what was said in all that was fed.

        Raises:
            ProviderError: The engine failed.
        """
        self._ending = True
        if self._final is None and not self._aborted:
            self._final = await self._plugin.run(self._end)
        return self._final or Final(text="")

    def abort(self) -> None:
        """Let the rest of the audio pass unheard; harmless when repeated or after `finish`."""
        self._aborted = True

    def _accept(self, pcm: bytes) -> None:
        if self._aborted or self._failure is not None:
            return
        try:
            self._decode(pcm)
        except Exception as error:  # kept for whoever awaits the end: nobody awaits this
            self._failure = error

    def _decode(self, pcm: bytes, *, last: bool = False) -> None:
        engine = self._plugin.engine()
        if self._stream is None:
            self._stream = engine.create_stream()
        self._stream.accept_waveform(self._rate_hz, floats_of(pcm))
        if last:
            self._stream.input_finished()
        while engine.is_ready(self._stream):
            engine.decode_stream(self._stream)
        self._heard += len(pcm) // 2
        text = _result_text(engine.get_result(self._stream))
        self._newest = Partial(text, text.rfind(" ") + 1, self._heard) if text else None

    def _end(self) -> Final:
        if self._failure is not None:
            raise self._failure
        if self._aborted or self._stream is None:
            return Final(text="")
        self._decode(bytes(2 * int(TAIL_SECS * self._rate_hz)), last=True)
        return Final(text=self._newest.text if self._newest else "")


class PiperTTS(PluginTTS):
    """Speaks with piper; the weights are one voice (``.onnx`` with its ``.onnx.json``) or a folder of voices."""

    name = "piper"
    package, module_name, extra = "piper-tts", "piper", "piper"
    weights = "a voice (name.onnx with name.onnx.json)"

    def __init__(self, path: str | Path | None = None, *, clock: Clock | None = None, module: Any = None) -> None:
        super().__init__(path, clock=clock, module=module)
        files = sorted(self.path.glob("*.onnx")) if self.path.is_dir() else [self.path]
        self._files = {file.stem: file for file in files}
        if not files:
            raise InvalidValueError(f"{self.path} has no *.onnx; put {self.weights} there", field="piper weights")
        rates = {_piper_rate(file) for file in files}
        if len(rates) > 1:
            raise InvalidValueError(
                f"the voices in {self.path} have different rates ({', '.join(map(str, sorted(rates)))}): name one file",
                field="piper weights",
            )
        self.capabilities = TTSCapabilities(
            rate_hz=rates.pop(), alignment="none", voices=tuple(self._files), languages=()
        )

    def load(self, module: Any) -> Any:
        """Keep the module; its voices are loaded when they first speak."""
        return module, {}

    def speak(self, text: str, voice: str, speed: float) -> Iterator[bytes]:
        """Yield a sentence at a time."""
        module, loaded = self.engine()
        name = pick_voice(self.name, voice, tuple(self._files))
        if name not in loaded:
            loaded[name] = module.PiperVoice.load(str(self._files[name]), config_path=f"{self._files[name]}.json")
        for chunk in loaded[name].synthesize(text, module.SynthesisConfig(length_scale=1 / speed)):
            yield chunk.audio_int16_bytes


class KokoroTTS(PluginTTS):
    """Speaks with kokoro; the weights are a folder with ``kokoro*.onnx`` and ``voices*.bin``.

    A text is spoken in one piece: the engine's own stream never ends when it fails.
    """

    name = "kokoro"
    package, module_name, extra = "kokoro-onnx", "kokoro_onnx", "kokoro"
    weights = "kokoro*.onnx and voices*.bin"

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        clock: Clock | None = None,
        module: Any = None,
        language: str = "en",
    ) -> None:
        super().__init__(path, clock=clock, module=module)
        self._language = KOKORO_LANGUAGES.get(base_language(language), "en-us")
        self._files = [next(iter(sorted(self.path.glob(pattern))), None) for pattern in ("*.onnx", "voices*.bin")]
        if None in self._files:
            raise InvalidValueError(f"{self.path} must hold {self.weights}", field="kokoro weights")
        self.capabilities = TTSCapabilities(rate_hz=KOKORO_RATE_HZ, alignment="none", voices=(), languages=())

    def load(self, module: Any) -> Any:
        """Load the model and its voices."""
        return module.Kokoro(*map(str, self._files))

    def speak(self, text: str, voice: str, speed: float) -> Iterator[bytes]:
        """Yield the whole text at once."""
        engine = self.engine()
        name = pick_voice(self.name, voice, tuple(engine.get_voices()))
        floats, rate_hz = engine.create(text, voice=name, speed=speed, lang=self._language)
        if rate_hz != KOKORO_RATE_HZ:
            raise ProviderError(f"spoke at {rate_hz} Hz instead of {KOKORO_RATE_HZ}", provider=self.name)
        yield samples_of(floats)


def _word_time(word: Any) -> WordTime:
    start, end = sample_at(word.start, WHISPER_RATE_HZ) or 0, sample_at(word.end, WHISPER_RATE_HZ) or 0
    return WordTime(word.word.strip(), start, max(start, end))


def _result_text(result: Any) -> str:
    return str(getattr(result, "text", result)).strip()


def _piper_rate(file: Path) -> int:
    """Return the rate that a voice's configuration names.

    Raises:
        InvalidValueError: There is no configuration beside the voice, or no rate in it.
    """
    beside = Path(f"{file}.json")
    try:
        rate_hz = json.loads(beside.read_text(encoding="utf-8"))["audio"]["sample_rate"]
        check_rate(rate_hz)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidValueError(
            f"{beside} must be the voice's configuration ({type(error).__name__})", field="piper weights"
        ) from None
    return int(rate_hz)
