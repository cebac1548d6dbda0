"""Pocketsphinx process: the child that listens, for several utterances at once."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

from convai_lab.providers.offline_speech.child_frames import Frame
from convai_lab.providers.offline_speech.child_main import Send, serve
from convai_lab.providers.offline_speech.decoding import Utterance
from convai_lab.providers.offline_speech.domain_lm import DomainModel, build_model, kept_model, missing_words
from convai_lab.providers.offline_speech.espeak_library import EspeakLibrary
from convai_lab.providers.offline_speech.installed import is_installed

PRONOUNCING_VOICE = "en-us"
IDLE_DECODERS = 8
"""So many decoders are kept ready; each takes about 50 MB."""


class PocketsphinxWorker:
    """Recognises what it is fed, and says what it believes after every feed."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._open: dict[int, tuple[str, Utterance]] = {}
        self._idle: OrderedDict[int, tuple[str, Any]] = OrderedDict()
        self._said: dict[int, str] = {}
        self._espeak: EspeakLibrary | None = None

    def take(self, frame: Frame) -> None:
        """Do what a message asks for."""
        head, stream = frame.head, int(frame.head.get("id", 0))
        try:
            if head["op"] == "open":
                self._open[stream] = self._opened(head, frame.body)
            elif head["op"] == "feed" and stream in self._open:
                self._feed(stream, frame.body)
            elif head["op"] == "finish" and stream in self._open:
                self._finish(stream)
            elif head["op"] == "cancel":
                self._close(stream)
        except (RuntimeError, OSError, ValueError) as error:
            self._close(stream)
            self._send({"op": "error", "id": stream, "message": str(error)[:500]})

    def cancel(self, stream: int) -> None:
        """Nothing runs long enough here to be stopped in the middle."""

    def work(self) -> bool:
        """All work is done as it is asked for."""
        return False

    def _opened(self, head: dict[str, Any], body: bytes) -> tuple[str, Utterance]:
        asked = json.loads(body)
        folder, phrases = Path(asked["folder"]), asked["phrases"]
        model = kept_model(folder, phrases) or build_model(folder, phrases, self._phonemes(missing_words(phrases)))
        key = f"{model.lm} {model.dictionary} {head['fast']}"
        self._send({"op": "model", "id": head["id"], "unknown": list(model.unknown), "words": model.words})
        return key, Utterance(decoder=self._decoder(key, model, fast=bool(head["fast"])))

    def _phonemes(self, words: list[str]) -> dict[str, list[str]]:
        """Ask espeak-ng how words are said that the dictionary does not know; without it they stay unknown."""
        if not words or not is_installed("espeakng_loader"):
            return {}
        if self._espeak is None:
            self._espeak = EspeakLibrary()
        return {word: self._espeak.phonemes(word, PRONOUNCING_VOICE) for word in words}

    def _decoder(self, key: str, model: DomainModel, *, fast: bool) -> Any:
        for number, (kept, decoder) in self._idle.items():
            if kept == key:
                del self._idle[number]
                return decoder
        import pocketsphinx

        options: dict[str, Any] = {"fwdflat": False} if fast else {}
        return pocketsphinx.Decoder(lm=model.lm, dict=model.dictionary, samprate=16000, loglevel="FATAL", **options)

    def _feed(self, stream: int, pcm: bytes) -> None:
        utterance = self._open[stream][1]
        utterance.feed(pcm)
        if (text := utterance.hypothesis()) != self._said.get(stream, ""):
            self._said[stream] = text
            self._send({"op": "partial", "id": stream, "samples": utterance.samples}, text.encode())

    def _finish(self, stream: int) -> None:
        heard = self._open[stream][1].finish()
        words = [[word.text, word.start, word.end] for word in heard.words]
        self._close(stream)
        self._send({"op": "final", "id": stream, "confidence": heard.confidence}, json.dumps(words).encode())

    def _close(self, stream: int) -> None:
        self._said.pop(stream, None)
        found = self._open.pop(stream, None)
        if found is not None:
            key, utterance = found
            utterance.abandon()
            self._idle[id(utterance)] = (key, utterance.decoder)
            while len(self._idle) > IDLE_DECODERS:
                self._idle.popitem(last=False)


if __name__ == "__main__":
    serve(PocketsphinxWorker)
