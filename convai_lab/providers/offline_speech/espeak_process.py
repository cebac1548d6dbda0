"""Espeak process: the child that speaks, one piece of text at a time, for all sessions in the order they asked."""

from __future__ import annotations

import json
from collections import deque
from typing import NamedTuple

from convai_lab.providers.offline_speech.child_frames import Frame
from convai_lab.providers.offline_speech.child_main import Send, serve
from convai_lab.providers.offline_speech.espeak_library import EspeakLibrary, VoiceSettings, WordEvent

PRONOUNCING_VOICE = "en-us"


class _Request(NamedTuple):
    stream: int
    text: str
    settings: VoiceSettings


class EspeakWorker:
    """Speaks what it is asked, and stops within one chunk when a stream is given up."""

    def __init__(self, send: Send, library: EspeakLibrary | None = None) -> None:
        self._send = send
        self._library = library or EspeakLibrary()
        self._requests: deque[_Request] = deque()
        self._cancelled: set[int] = set()

    def take(self, frame: Frame) -> None:
        """Queue what is to be spoken; answer a question about pronunciation at once."""
        head = frame.head
        if head["op"] == "speak":
            settings = VoiceSettings(head["voice"], head["wpm"], head["pitch"], head["range"])
            self._requests.append(_Request(head["id"], frame.body.decode(), settings))
        elif head["op"] == "cancel":  # all of the stream's requests have come before this
            self._requests = deque(request for request in self._requests if request.stream != head["id"])
            self._cancelled.discard(head["id"])
        elif head["op"] == "phonemes":
            said = {word: self._library.phonemes(word, PRONOUNCING_VOICE) for word in json.loads(frame.body)}
            self._send({"op": "phonemes", "id": head["id"]}, json.dumps(said).encode())

    def cancel(self, stream: int) -> None:
        """Stop speaking for a stream at its next chunk."""
        self._cancelled.add(stream)

    def work(self) -> bool:
        """Speak the oldest request."""
        if not self._requests:
            return False
        request = self._requests.popleft()
        try:
            self._speak(request)
        except (ValueError, RuntimeError) as error:
            self._send({"op": "error", "id": request.stream, "message": str(error)})
        return True

    def _speak(self, request: _Request) -> None:
        samples = 0

        def on_audio(pcm: bytes, words: list[WordEvent]) -> bool:
            nonlocal samples
            if request.stream in self._cancelled:
                return True
            if pcm or words:
                self._send({"op": "audio", "id": request.stream, "words": words}, pcm)
            samples += len(pcm) // 2
            return False

        self._library.speak(request.text, request.settings, on_audio)
        self._send({"op": "done", "id": request.stream, "samples": samples, "rate_hz": self._library.rate_hz})


if __name__ == "__main__":
    serve(EspeakWorker)
