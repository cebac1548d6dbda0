"""Fake speech vendors: small servers that speak and listen like ElevenLabs and OpenAI, from a script, with faults.

They listen on a free loopback port in a thread of their own, and need no network and no key:

    with fake_elevenlabs(speech=[Speech(odd=True)], sessions=[Session(texts=("hello there",))]) as server:
        ...  # ELEVENLABS_BASE_URL = server.base_url
        assert server.requests[0].body["text"] == "Hi"

Without a script they say whatever they are asked to say, and hear "hello" in everything.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
from collections.abc import Sequence
from typing import Any, Literal, Self
from urllib.parse import urlencode

from convai_lab.testing.loopback_http import head, read_request, send, send_json
from convai_lab.testing.speech_script import (
    Heard,
    Line,
    Listened,
    Session,
    Speech,
    SpeechScripted,
    bare_samples,
    timed_lines,
    tone,
    transcript,
)
from convai_lab.testing.vendor_script import Hang, HangUp, Raw, Received, Status

__all__ = [
    "FakeSpeechVendor",
    "Hang",
    "HangUp",
    "Heard",
    "Listened",
    "Raw",
    "Session",
    "Speech",
    "Status",
    "fake_elevenlabs",
    "fake_openai_speech",
    "tone",
]

OPENAI_RATE_HZ = 24000
LONGEST_HEAD_BYTES = 1 << 20


class _Cut(Exception):
    """The script wants the connection to be reset here."""


class FakeSpeechVendor:
    """A speech vendor's server on loopback; use it in a ``with`` block.

    `requests` holds every HTTP request so far, `sockets` what came over every websocket. `left_early` counts clients
    that closed before the end of an answer.
    """

    def __init__(
        self,
        dialect: Literal["elevenlabs", "openai"],
        *,
        speech: Sequence[SpeechScripted] = (),
        transcripts: Sequence[SpeechScripted] = (),
        sessions: Sequence[SpeechScripted] = (),
    ) -> None:
        self.dialect, self.key = dialect, "sk_fake0123456789abcdefghij"
        self.requests: list[Received] = []
        self.sockets: list[Listened] = []
        self.connections = 0
        self.left_early = 0
        self.base_url = ""
        self._speech, self._transcripts, self._sessions = list(speech), list(transcripts), list(sessions)
        self._left = threading.Condition()

    @property
    def settings(self) -> dict[str, str]:
        """Return the environment variables (key and base URL) that point the vendor's adapter here."""
        vendor = self.dialect.upper()
        return {f"{vendor}_API_KEY": self.key, f"{vendor}_BASE_URL": self.base_url}

    def wait_until_left(self, clients: int = 1, *, timeout_secs: float = 5) -> bool:
        """Wait until that many clients have closed before the end of their answer; false when they did not."""
        with self._left:
            return self._left.wait_for(lambda: self.left_early >= clients, timeout_secs)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"fake-{self.dialect}", daemon=True)
        self._thread.start()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}" + ("/v1" if self.dialect == "openai" else "")
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=LONGEST_HEAD_BYTES)

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while (received := await read_request(reader)) is not None:
                if not await self._answer(received, reader, writer):
                    break
        except (_Cut, ConnectionError, asyncio.IncompleteReadError):
            writer.transport.abort()
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        path = received.path
        if received.headers.get("upgrade", "").lower() == "websocket":
            return await self._converse(received, reader, writer)
        self.requests.append(received)
        if "/text-to-speech/" in path or path.endswith("/audio/speech"):
            scripted = self._speech.pop(0) if self._speech else Speech()
        elif path.endswith(("/speech-to-text", "/audio/transcriptions")):
            scripted = self._transcripts.pop(0) if self._transcripts else Heard()
        else:
            return await send_json(writer, 404, {"detail": f"no route {received.method} {path}"})
        match scripted:
            case Hang():
                return await self._hang(reader)
            case HangUp():
                raise _Cut
            case Raw():
                return await send(writer, 200, scripted.body, content_type=scripted.content_type)
            case Status():
                return await self._refuse(scripted, writer)
            case Heard():
                return await send_json(writer, 200, transcript(scripted))
            case Speech():
                return await self._speak(scripted, received, reader, writer)
        raise TypeError(f"{scripted!r} is no answer over HTTP")

    async def _refuse(self, status: Status, writer: asyncio.StreamWriter) -> bool:
        if status.body is not None:
            return await send(writer, status.code, status.body, headers=status.headers)
        return await send_json(writer, status.code, self._error(status), headers=status.headers)

    def _error(self, status: Status) -> dict[str, Any]:
        if self.dialect == "openai":
            return {"error": {"message": status.message, "type": "invalid_request_error", "code": None}}
        code, _, message = status.message.rpartition("|")
        return {"detail": {"status": code or "error", "message": message}}

    async def _speak(
        self, speech: Speech, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        body = received.body if isinstance(received.body, dict) else {}
        if self.dialect == "openai":
            lines, kind = bare_samples(speech, str(body.get("input", "")), OPENAI_RATE_HZ), "audio/pcm"
        else:
            rate_hz = int(received.query.get("output_format", "pcm_16000").rpartition("_")[2])
            lines, kind = timed_lines(speech, str(body.get("text", "")), rate_hz), "application/json"
        writer.write(head(200, {"content-type": kind, "transfer-encoding": "chunked"}))
        try:
            for line in lines:
                if line.fault == "stop":
                    break
                if line.fault == "cut":
                    raise _Cut
                if line.fault == "hang":
                    return await self._hang(reader)
                await self._send_line(line, speech, reader, writer)
        except ConnectionError:
            self._count_left()
            raise
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _send_line(
        self, line: Line, speech: Speech, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await asyncio.sleep(speech.pause_secs)
        step = speech.piece_bytes or max(1, len(line.data))
        for start in range(0, len(line.data), step):
            piece = line.data[start : start + step]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            if reader.at_eof():
                raise ConnectionResetError

    async def _hang(self, reader: asyncio.StreamReader) -> bool:
        """Wait until the client goes away."""
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass
        self._count_left()
        return False

    def _count_left(self) -> None:
        with self._left:
            self.left_early += 1
            self._left.notify_all()

    async def _converse(self, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        scripted = self._sessions.pop(0) if self._sessions else Session()
        match scripted:
            case Status():
                scripted = Session(refuse=scripted)
            case Hang():
                scripted = Session(hang=True)
            case HangUp():
                raise _Cut
        if not isinstance(scripted, Session):
            raise TypeError(f"{scripted!r} is no answer over a websocket")
        if scripted.refuse is not None:
            await self._refuse(scripted.refuse, writer)
            return False
        if scripted.hang:
            return await self._hang(reader)
        listened = Listened(received)
        self.sockets.append(listened)
        await _Conversation(scripted, listened, reader, writer).hold()
        self._count_left()
        return False


class _Conversation:
    """One realtime session, spoken frame by frame, so that it can break anywhere."""

    def __init__(
        self, session: Session, listened: Listened, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        from websockets.server import ServerProtocol

        self._session, self._listened, self._reader, self._writer = session, listened, reader, writer
        self._protocol = ServerProtocol()
        self._texts = iter(session.texts)
        self._guesses = iter(session.guesses)
        self._with_times = listened.received.query.get("include_timestamps") == "true"
        self._sounds = 0

    async def hold(self) -> None:
        """Talk until one side closes."""
        from websockets.frames import Frame, Opcode

        self._shake_hands()
        self._say({"message_type": "session_started", "session_id": "fake", "config": {}})
        if self._session.after == 0:
            self._misbehave()
        await self._flush()
        while data := await self._reader.read(1 << 16):
            self._protocol.receive_data(data)
            for frame in self._protocol.events_received():
                if isinstance(frame, Frame) and frame.opcode is Opcode.TEXT:
                    self._take(json.loads(bytes(frame.data)))
            await self._flush()

    def _shake_hands(self) -> None:
        received = self._listened.received
        query = f"?{urlencode(received.query)}" if received.query else ""
        lines = "".join(f"{name}: {value}\r\n" for name, value in received.headers.items())
        self._protocol.receive_data(f"GET {received.path}{query} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
        (request,) = self._protocol.events_received()
        self._protocol.send_response(self._protocol.accept(request))  # type: ignore[arg-type]

    def _take(self, message: dict[str, Any]) -> None:
        self._listened.messages.append(message)
        sound = base64.b64decode(message.get("audio_base_64", ""), validate=True)
        self._listened.audio += sound
        if sound and not message.get("commit"):
            self._sounds += 1
            if guess := next(self._guesses, None):
                self._say({"message_type": "partial_transcript", "text": guess})
            if self._sounds == self._session.after:
                self._misbehave()
        if message.get("commit"):
            self._listened.commits.append(len(self._listened.audio) // 2)
            if not self._session.silent:
                self._commit(next(self._texts, ""))

    def _commit(self, text: str) -> None:
        self._say({"message_type": "committed_transcript", "text": text})
        if self._with_times:
            words = transcript(Heard(text=text))["words"]
            self._say({"message_type": "committed_transcript_with_timestamps", "text": text, "words": words})

    def _misbehave(self) -> None:
        session = self._session
        if session.unasked is not None:
            self._commit(session.unasked)
        if session.error is not None:
            self._say({"message_type": session.error, "error": f"This is what {session.error} looks like."})
        if session.garbage:
            self._protocol.send_text(b"{not json")
        if session.close is not None:
            self._protocol.send_close(session.close, "commit_throttled")
        if session.cut:
            raise _Cut

    def _say(self, message: dict[str, Any]) -> None:
        self._protocol.send_text(json.dumps(message).encode())

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
            else:
                self._writer.write_eof()
        await self._writer.drain()


def fake_elevenlabs(**script: Any) -> FakeSpeechVendor:
    """Return a server that speaks ElevenLabs' speech dialects, over HTTP and websockets."""
    return FakeSpeechVendor("elevenlabs", **script)


def fake_openai_speech(**script: Any) -> FakeSpeechVendor:
    """Return a server that speaks OpenAI's ``/v1/audio`` (also that of many local servers)."""
    return FakeSpeechVendor("openai", **script)
