"""Pocketsphinx process: the child that listens to several utterances at once, each in turn for a fifth of a second.

So a long recording that arrives all at once does not make a live caller wait. Decoders with the same model are used
again, up to a few; a model that needs the pronunciation of unknown words asks the parent for it, and the utterances
that want it wait meanwhile, their audio kept.
"""

from __future__ import annotations

import json
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convai_lab.providers.offline_speech.child_frames import Frame
from convai_lab.providers.offline_speech.child_main import Send, serve
from convai_lab.providers.offline_speech.decoding import RATE_HZ, Utterance
from convai_lab.providers.offline_speech.domain_lm import (
    DomainModel,
    build_model,
    forget_model,
    kept_model,
    missing_words,
)

STEP_BYTES = 2 * RATE_HZ // 5
BEHIND_SAMPLES = RATE_HZ // 2
"""How much audio goes by between two beliefs while an utterance is behind; otherwise there is one after each step."""
KNOWN_MODELS = 64
"""So many models are remembered; a parent that wants an older one is asked to tell it again."""
MOST_GUESSED = 5000
"""For so many unknown words of one agent the pronunciation is asked; more are no phrases any more."""
IDLE_DECODERS = 6
"""So many decoders are kept ready; each takes about 9 MB."""


@dataclass
class _Wanted:
    """A model that was asked for, and how far it has come."""

    folder: Path
    phrases: list[str]
    phonemes: Mapping[str, Sequence[str]] | None = None
    is_asking: bool = False
    model: DomainModel | None = None


@dataclass
class _Stream:
    """An utterance and the audio that waits for it."""

    model_key: str
    fast: bool
    utterance: Utterance | None = None
    waiting: deque[bytes] = field(default_factory=deque)
    is_finishing: bool = False
    said: str = ""
    said_at: int = 0


class PocketsphinxWorker:
    """Recognises what it is fed, and says what it believes as it goes."""

    def __init__(self, send: Send) -> None:
        import pocketsphinx

        self._new_decoder = pocketsphinx.Decoder
        self._send = send
        self._wanted: dict[str, _Wanted] = {}
        self._streams: dict[int, _Stream] = {}
        self._idle: list[tuple[str, bool, Any]] = []
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def take(self, frame: Frame) -> None:
        """Note what a message says; the work is done in `work`."""
        head, op = frame.head, frame.head["op"]
        if op == "model":
            self._wanted[head["key"]] = _Wanted(Path(head["folder"]), json.loads(frame.body))
            for key in list(self._wanted)[:-KNOWN_MODELS]:
                del self._wanted[key]
        elif op == "phonemes":
            if (wanted := self._wanted.get(head["key"])) is not None:
                wanted.phonemes = json.loads(frame.body)
        elif op == "open":
            self._streams[head["id"]] = _Stream(head["key"], fast=head["fast"])
        elif op == "cancel":
            self._streams.pop(head["id"], None)  # its decoder goes too: closing it would take longer than a new one
        elif (stream := self._streams.get(head["id"])) is not None:
            if op == "audio":
                stream.waiting.append(frame.body)
            else:
                stream.is_finishing = True

    def cancel(self, stream: int) -> None:
        """Nothing runs long enough here to be stopped in the middle."""

    def work(self) -> bool:
        """Do one step for the first utterance that has something to do, and put it behind the others."""
        for number, stream in list(self._streams.items()):
            if stream.utterance is None or stream.waiting or stream.is_finishing:
                try:
                    worked = self._step(number, stream)
                except (RuntimeError, OSError, ValueError, MemoryError) as error:
                    self._streams.pop(number, None)
                    self._send({"op": "error", "id": number, "message": f"{type(error).__name__}: {error}"[:500]})
                    return True
                if worked:
                    if number in self._streams:
                        self._streams[number] = self._streams.pop(number)
                    return True
        return False

    def _step(self, number: int, stream: _Stream) -> bool:
        """Open, hear or finish an utterance; false when it waits for its model."""
        if stream.utterance is None:
            if stream.model_key not in self._wanted:
                del self._streams[number]
                self._send({"op": "again", "id": number})
                return True
            if (model := self._model(stream.model_key)) is None:
                return False
            stream.utterance = Utterance(self._decoder(stream, model), is_general=model.is_general)
            about = {"words": model.words, "guessed": model.guessed, "unknown": model.unknown}
            self._send({"op": "model", "id": number}, json.dumps(about).encode())
        elif stream.waiting:
            self._hear(number, stream, stream.utterance)
        else:
            self._finish(number, stream, stream.utterance)
        return True

    def _hear(self, number: int, stream: _Stream, utterance: Utterance) -> None:
        audio = stream.waiting.popleft()
        while len(audio) < STEP_BYTES and stream.waiting:
            audio += stream.waiting.popleft()
        if len(audio) > STEP_BYTES:
            stream.waiting.appendleft(audio[STEP_BYTES:])
        utterance.feed(audio[:STEP_BYTES])
        if not stream.waiting or utterance.samples - stream.said_at >= BEHIND_SAMPLES:
            text = utterance.hypothesis()
            if text != stream.said or utterance.samples - stream.said_at >= BEHIND_SAMPLES:
                stream.said, stream.said_at = text, utterance.samples
                self._send({"op": "partial", "id": number, "samples": utterance.samples}, text.encode())

    def _finish(self, number: int, stream: _Stream, utterance: Utterance) -> None:
        heard = utterance.finish()
        del self._streams[number]
        self._idle.append((stream.model_key, stream.fast, utterance.decoder))
        del self._idle[:-IDLE_DECODERS]
        said = {"confidence": heard.confidence, "words": heard.words}
        self._send({"op": "final", "id": number}, json.dumps(said).encode())

    def _model(self, key: str) -> DomainModel | None:
        """Return a model, made now if need be; None while the pronunciation of its words is asked for."""
        wanted = self._wanted[key]
        if wanted.model is None:
            wanted.model = kept_model(wanted.folder, wanted.phrases)
        if wanted.model is None and wanted.phonemes is None:
            if wanted.is_asking:
                return None
            if words := missing_words(wanted.phrases):
                wanted.is_asking = True
                self._send({"op": "pronounce", "key": key}, json.dumps(words[:MOST_GUESSED]).encode())
                return None
            wanted.phonemes = {}
        if wanted.model is None:
            wanted.model = self._built(wanted)
        return wanted.model

    def _built(self, wanted: _Wanted) -> DomainModel:
        """Make a model; where the data folder cannot be written, for this process alone."""
        try:
            return build_model(wanted.folder, wanted.phrases, wanted.phonemes or {})
        except OSError:
            if self._scratch is None:
                self._scratch = tempfile.TemporaryDirectory(prefix="convai-speech-")
            return build_model(Path(self._scratch.name), wanted.phrases, wanted.phonemes or {})

    def _decoder(self, stream: _Stream, model: DomainModel) -> Any:
        for kept in self._idle:
            if kept[:2] == (stream.model_key, stream.fast):
                self._idle.remove(kept)
                return kept[2]
        try:
            return self._load(model, fast=stream.fast)
        except RuntimeError:  # the kept files are damaged, or somebody removed them
            wanted = self._wanted[stream.model_key]
            forget_model(wanted.folder, wanted.phrases)
            wanted.model = self._built(wanted)
            return self._load(wanted.model, fast=stream.fast)

    def _load(self, model: DomainModel, *, fast: bool) -> Any:
        return self._new_decoder(
            lm=model.lm, dict=model.dictionary, samprate=RATE_HZ, loglevel="FATAL", fwdflat=not fast
        )


if __name__ == "__main__":
    serve(PocketsphinxWorker)
