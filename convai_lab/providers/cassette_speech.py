"""Cassette speech: how are a recogniser and a voice recorded, and replayed without their vendors?

What is said is found again by its text, voice and settings; what is heard by the sound itself, of which the cassette
keeps a hash. A recogniser's beliefs come back after the same samples at which they were first held.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, cast

from convai_lab.errors import CassetteMissError, ConvaiLabError, InvalidValueError
from convai_lab.providers.base import (
    ASR,
    TTS,
    ASRCapabilities,
    ASRStream,
    AudioChunk,
    Final,
    Mark,
    Partial,
    TTSCapabilities,
    WordTime,
)
from convai_lab.providers.cassette_error import error_from_plain, error_to_plain
from convai_lab.providers.cassette_file import Recording, name_of
from convai_lab.providers.cassette_secrets import SOUND

if TYPE_CHECKING:
    from convai_lab.providers.cassette import Cassette

Engine = ASR | TTS


def taped_engine(
    cassette: Cassette,
    kind: Literal["asr", "tts"],
    name: str,
    settings: Mapping[str, Any],
    find: Callable[[], Engine],
    *,
    is_remote: bool,
) -> Engine:
    """Return a speech engine on a cassette; one that needs no network stays as it is.

    Args:
        name: What the engine was asked for as; with `settings` it says which one it is.
        find: Gives the engine itself; not called when it is replayed.
        is_remote: It is known to be a vendor's.

    Raises:
        CassetteMissError: It is to be replayed and was not recorded.
    """
    from convai_lab.providers.cassette import plain

    asked = plain({"engine": name, "kind": kind, "settings": dict(settings)})
    known = cassette.peek("engine", asked)
    if known is not None and cassette.mode != "auto":
        return _wrapped(cassette, asked, None, known.answer, f"{cassette.name} line {known.line}")
    if cassette.mode == "replay" and is_remote:
        cassette.find("engine", asked)  # raises, and says what was recorded
    engine = find()
    if not engine.capabilities.needs_network:
        return engine
    described = {"name": engine.name, "capabilities": asdict(engine.capabilities)}
    if known is None:
        cassette.keep_once("engine", asked, described)
    return _wrapped(cassette, asked, engine, described, cassette.name)


def _wrapped(
    cassette: Cassette, asked: Mapping[str, Any], engine: Engine | None, described: Mapping[str, Any], where: str
) -> Engine:
    kinds: dict[str, Any] = {"asr": ASRCapabilities, "tts": TTSCapabilities}
    try:
        given = {n: tuple(v) if isinstance(v, list) else v for n, v in described["capabilities"].items()}
        capabilities = kinds[asked["kind"]](**given)
        name = str(described["name"])
    except (KeyError, TypeError, AttributeError):
        raise InvalidValueError(
            f"{where}: the capabilities of an engine are not known here", field="cassette"
        ) from None
    if asked["kind"] == "asr":
        return CassetteASR(cassette, asked, cast("ASR | None", engine), name, capabilities)
    return CassetteTTS(cassette, asked, cast("TTS | None", engine), name, capabilities)


class CassetteTTS:
    """A voice whose speech is recorded or replayed."""

    def __init__(
        self, cassette: Cassette, asked: Mapping[str, Any], inner: TTS | None, name: str, capabilities: TTSCapabilities
    ) -> None:
        self.name, self.capabilities = name, capabilities
        self._cassette, self._asked, self._inner = cassette, asked, inner

    async def synthesize(self, text: str, *, voice: str, speed: float = 1.0) -> AsyncGenerator[AudioChunk | Mark, None]:
        """Yield the recorded speech, or new speech that is then kept.

        Raises:
            CassetteMissError: Nothing like it was recorded.
            ProviderError: The engine failed, or did so when it was recorded.
        """
        from convai_lab.providers.cassette import plain

        named = {"engine": self._asked["engine"], "settings": self._asked["settings"]}
        asked = plain({**named, "text": text, "voice": voice, "speed": float(speed)})
        recording = self._cassette.find("tts", asked)
        if recording is not None:
            pieces = self._spoken(recording)
        else:
            if self._inner is None:
                raise CassetteMissError(f"{self._cassette.name}: the voice {self.name} is not here to be asked")
            pieces = self._heard(self._inner, asked, text, voice, speed)
        async with aclosing(pieces) as events:
            async for event in events:
                yield event

    async def _spoken(self, recording: Recording) -> AsyncGenerator[AudioChunk | Mark, None]:
        where, answer = f"{self._cassette.name} line {recording.line}", recording.answer
        pieces = _pieces_from_plain(answer, where)
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(0)
        for secs, piece in pieces:
            await self._cassette.wait_until(secs, since=began)
            yield piece
        await self._cassette.wait_until(_secs_of(answer.get("ended", 0.0), where), since=began)
        if "error" in answer:
            raise error_from_plain(answer["error"], where)
        if answer.get("cut"):
            raise self._cassette.broken_off(self.name)

    async def _heard(
        self, engine: TTS, asked: Mapping[str, Any], text: str, voice: str, speed: float
    ) -> AsyncGenerator[AudioChunk | Mark, None]:
        now = asyncio.get_running_loop().time
        began, sound, pieces = now(), bytearray(), list[list[Any]]()
        answer: dict[str, Any] = {"cut": True}
        try:
            spoken = cast(AsyncGenerator[AudioChunk | Mark, None], engine.synthesize(text, voice=voice, speed=speed))
            async with aclosing(spoken) as events:
                async for event in events:
                    secs = round(now() - began, 6)
                    if isinstance(event, AudioChunk):
                        sound += event.pcm
                        pieces.append([secs, "pcm", event.start_sample, len(event.pcm)])
                    else:
                        pieces.append([secs, "mark", *event])
                    yield event
            answer = {}
        except ConvaiLabError as error:
            answer = {"error": error_to_plain(error)}
            raise
        finally:
            heard = {"pieces": pieces, "ended": round(now() - began, 6), SOUND: base64.b64encode(sound).decode()}
            self._cassette.keep("tts", asked, {**answer, **heard})


class CassetteASR:
    """A recogniser whose findings are recorded or replayed."""

    def __init__(
        self, cassette: Cassette, asked: Mapping[str, Any], inner: ASR | None, name: str, capabilities: ASRCapabilities
    ) -> None:
        self.name, self.capabilities = name, capabilities
        self._cassette, self._asked, self._inner = cassette, asked, inner
        self._beliefs: dict[tuple[str, str], Partial] | None = None

    def open(self, *, rate_hz: int, language: str, phrases: Sequence[str] = ()) -> CassetteASRStream:
        """Start an utterance."""
        from convai_lab.providers.cassette import plain

        how = {"rate_hz": rate_hz, "language": language, "phrases": list(phrases)}
        asked = plain({"engine": self._asked["engine"], "settings": self._asked["settings"], **how})
        inner = None
        if self._inner is not None:
            inner = self._inner.open(rate_hz=rate_hz, language=language, phrases=phrases)
        return CassetteASRStream(self._cassette, asked, inner, self._known_beliefs() if inner is None else {})

    def _known_beliefs(self) -> dict[tuple[str, str], Partial]:
        """Return what was believed after which sound, of all utterances that were recorded."""
        if self._beliefs is None:
            self._beliefs = {}
            for recording in self._cassette.of_kind("asr"):
                asked = {n: v for n, v in recording.request.items() if n not in ("samples", "sound")}
                for belief in recording.answer.get("partials", []):
                    match belief:
                        case [str() as sound, str() as text, int() as stable, int() as at]:
                            self._beliefs[name_of(asked), sound] = Partial(text, stable, at)
        return self._beliefs


class CassetteASRStream:
    """One utterance; while it is recorded, all that is fed goes to the engine too."""

    def __init__(
        self,
        cassette: Cassette,
        asked: dict[str, Any],
        inner: ASRStream | None,
        beliefs: Mapping[tuple[str, str], Partial],
    ) -> None:
        self._cassette, self._asked, self._inner = cassette, asked, inner
        self._beliefs, self._name = beliefs, name_of(asked)
        self._sound, self._bytes = hashlib.blake2b(digest_size=12), 0
        self._belief: Partial | None = None
        self._kept: list[list[Any]] = []
        self._final: Final | None = None
        self._is_over = False

    def feed(self, pcm: bytes) -> None:
        """Take some audio."""
        self._sound.update(pcm)
        self._bytes += len(pcm)
        if self._inner is not None:
            self._inner.feed(pcm)

    def partial(self) -> Partial | None:
        """Return the newest belief."""
        if self._inner is None:
            self._belief = self._beliefs.get((self._name, self._sound.hexdigest()), self._belief)
            return self._belief
        believed = self._inner.partial()
        if believed is not None and believed != self._belief:
            self._belief = believed
            self._kept.append([self._sound.hexdigest(), *believed])
        return believed

    async def finish(self) -> Final:
        """Return the final result; once more, the same.

        Raises:
            CassetteMissError: This sound was not recorded.
            ProviderError: The engine failed, or did so when it was recorded.
        """
        if self._final is None:
            asked = {**self._asked, "samples": self._bytes // 2, "sound": self._sound.hexdigest()}
            recording = self._cassette.find("asr", asked)
            if recording is not None and self._inner is not None:  # auto: nobody need hear it again
                self._inner.abort()
            self._final = await (self._heard(asked) if recording is None else self._replayed(recording))
        return self._final

    def abort(self) -> None:
        """Give up."""
        if self._inner is not None:
            self._inner.abort()
            if not self._is_over and self._kept:
                self._keep({"cut": True})
        self._is_over = True

    async def _heard(self, asked: Mapping[str, Any]) -> Final:
        if self._inner is None:
            raise CassetteMissError(f"{self._cassette.name}: {asked['engine']} is not here to be asked")
        now = asyncio.get_running_loop().time
        began, self._is_over = now(), True
        try:
            final = await self._inner.finish()
        except ConvaiLabError as error:
            self._keep({"error": error_to_plain(error), "ended": round(now() - began, 6)})
            raise
        words = [list(word) for word in final.words]
        heard = {"text": final.text, "confidence": final.confidence, "words": words}
        self._keep({**heard, "ended": round(now() - began, 6)})
        return final

    async def _replayed(self, recording: Recording) -> Final:
        where, answer = f"{self._cassette.name} line {recording.line}", recording.answer
        began = asyncio.get_running_loop().time()
        await self._cassette.wait_until(_secs_of(answer.get("ended", 0.0), where), since=began)
        if "error" in answer:
            raise error_from_plain(answer["error"], where)
        text, confidence = answer.get("text"), answer.get("confidence")
        try:
            words = tuple(WordTime(str(said), int(start), int(end)) for said, start, end in answer.get("words", []))
        except (TypeError, ValueError):
            raise InvalidValueError("must be [text, start, end] each", field=f"{where}: words") from None
        if not isinstance(text, str) or not isinstance(confidence, int | float | None):
            raise InvalidValueError("needs a text and a confidence", field=where)
        return Final(text=text, confidence=confidence, words=words)

    def _keep(self, answer: Mapping[str, Any]) -> None:
        asked = {**self._asked, "samples": self._bytes // 2, "sound": self._sound.hexdigest()}
        self._cassette.keep("asr", asked, {**answer, "partials": self._kept})


def _pieces_from_plain(answer: Mapping[str, Any], where: str) -> list[tuple[float, AudioChunk | Mark]]:
    """Read recorded speech.

    Raises:
        InvalidValueError: It was edited into something else; names the place.
    """
    try:
        sound = base64.b64decode(answer.get(SOUND, ""), validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise InvalidValueError("is not base64", field=f"{where}: {SOUND}") from None
    read: list[tuple[float, AudioChunk | Mark]] = []
    at = 0
    for i, piece in enumerate(answer.get("pieces") or []):
        match piece:
            case [secs, "pcm", int() as start, int() as size] if 0 <= size <= len(sound) - at:
                read.append((_secs_of(secs, where), AudioChunk(sound[at : at + size], start)))
                at += size
            case [secs, "mark", int() as char, int() as chars, int() as sample]:
                read.append((_secs_of(secs, where), Mark(char, chars, sample)))
            case _:
                raise InvalidValueError("fits neither the sound nor a mark", field=f"{where}: pieces[{i}]")
    return read


def _secs_of(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise InvalidValueError("must be seconds", field=where)
    return float(value)
