"""Recordings: how is a conversation heard again?"""

from __future__ import annotations

import base64
import io
import os
import wave
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from convai_lab import background
from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import InvalidValueError, NotFoundError, NotSupportedError
from convai_lab.workspace.names import path_part

if TYPE_CHECKING:
    from convai_lab.workspace.transport import Transport

ROUTE = "/v1/convai/conversations"
MAX_SHOWN_BYTES = 24 * 1024 * 1024
"""A notebook file would have to keep more than this, a third larger as text; about 6 minutes of a recording."""
EDGE_SECS = 0.15
"""A turn is cut out with so much before and after it, so that its first and last sound are whole."""
SUFFIXES = {"audio/wav": ".wav", "audio/mpeg": ".mp3"}

_transports: weakref.WeakValueDictionary[str, Transport] = weakref.WeakValueDictionary()
"""The newest connection to each platform, so that a conversation finds the way back to where it was held."""


class ConversationAudio:
    """The sound of a conversation, or of one turn; a notebook shows it as a player.

    `data` are the bytes of the file, `mime` says of which kind: the local platform gives WAV (the user left, the
    agent right), the cloud MP3.
    """

    def __init__(self, data: bytes, mime: str, conversation: Conversation) -> None:
        self.data, self.mime = data, mime
        self._conversation = conversation

    @property
    def secs(self) -> float | None:
        """Return how long it lasts; None for MP3, which would have to be decoded."""
        if not self._is_wav:
            return None
        with self._opened() as file:
            return file.getnframes() / file.getframerate()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file, and return its path.

        Raises:
            InvalidValueError: The file cannot be written, or its name says another format.
        """
        target, suffix = Path(path).expanduser(), SUFFIXES.get(self.mime, "")
        if suffix and target.suffix.lower() in SUFFIXES.values() and target.suffix.lower() != suffix:
            raise InvalidValueError(f"this sound is {self.mime}: name the file {target.stem}{suffix}", field="path")
        try:
            target.write_bytes(self.data)
        except OSError as error:
            raise InvalidValueError(f"{target} cannot be written ({error.strerror})", field="path") from None
        return target

    def turn(self, index: int) -> ConversationAudio:
        """Return what was to be heard of one turn, from the side that spoke it.

        Raises:
            InvalidValueError: There is no such turn, or it has no place in the sound (it was typed).
            NotSupportedError: The sound is MP3.
        """
        if not self._is_wav:
            raise NotSupportedError(f"turns can be cut out of WAV only, and {self._conversation.platform} gives MP3")
        turns = self._conversation.turns
        if not -len(turns) <= index < len(turns):
            raise InvalidValueError(f"there is no turn {index}: the conversation has {len(turns)}", field="index")
        turn = turns[index]
        if turn.start_secs is None or turn.end_secs is None or turn.end_secs <= turn.start_secs:
            raise InvalidValueError(f"turn {index} was not heard: it takes no time in the sound", field="index")
        cut = self._cut(turn.start_secs, turn.end_secs, side=0 if turn.role == "user" else 1)
        return ConversationAudio(cut, self.mime, self._conversation)

    def __repr__(self) -> str:
        length = "" if self.secs is None else f"{self.secs:.1f} s, "
        problem = self._conversation.audio_problem
        return f"ConversationAudio({self._conversation.id!r}, {length}{self.mime}{f'; {problem}' if problem else ''})"

    def _repr_html_(self) -> str:
        if len(self.data) > MAX_SHOWN_BYTES:
            return Markup("<p>{} MB of sound are too much for a notebook: <code>.save(path)</code> it</p>").format(
                len(self.data) // 2**20
            )
        player = Markup('<audio controls aria-label="{}" src="data:{};base64,{}"></audio>').format(
            f"recording of conversation {self._conversation.id}", self.mime, base64.b64encode(self.data).decode("ascii")
        )
        problem = self._conversation.audio_problem
        return player + Markup("<p><small>{}</small></p>").format(problem) if problem else player

    @property
    def _is_wav(self) -> bool:
        return self.mime == "audio/wav"

    def _opened(self) -> wave.Wave_read:
        return wave.open(io.BytesIO(self.data), "rb")

    def _cut(self, start_secs: float, end_secs: float, *, side: int) -> bytes:
        """Return a part of one channel as a WAV file."""
        with self._opened() as file:
            rate, channels, count = file.getframerate(), file.getnchannels(), file.getnframes()
            first = min(count, round(max(0.0, start_secs - EDGE_SECS) * rate))
            file.setpos(first)
            frames = file.readframes(min(count, round((end_secs + EDGE_SECS) * rate)) - first)
        samples = memoryview(frames).cast("h")[min(side, channels - 1) :: channels].tobytes()
        cut = io.BytesIO()
        with wave.open(cut, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(rate)
            out.writeframes(samples)
        return cut.getvalue()


def conversation_audio(conversation: Conversation) -> ConversationAudio:
    """Return the sound of a conversation, from the platform where it was held.

    Raises:
        NotFoundError: It was not recorded, or the recording is gone.
    """
    from convai_lab.workspace.connect import connect

    if not conversation.has_audio:
        why = "it was held in text" if conversation.channel == "text" else "it was not recorded"
        why = conversation.audio_problem or why
        raise NotFoundError(f"conversation {conversation.id} has no sound: {why}")
    transport = _transports.get(conversation.platform) or connect(conversation.platform).conversations.transport
    return background.run(fetch_audio(transport, conversation))


def remember(transport: Transport) -> None:
    """Remember the way to a platform."""
    _transports[transport.platform.name] = transport


async def fetch_audio(transport: Transport, conversation: Conversation) -> ConversationAudio:
    """Return the sound of a conversation, on the background loop."""
    path = f"{ROUTE}/{path_part(conversation.id, field='conversation')}/audio"
    data, mime = await transport.download(path)
    return ConversationAudio(data, _kind(data, mime), conversation)


def _kind(data: bytes, told: str) -> str:
    """Return what kind of sound it is: the bytes know best."""
    if data[:4] == b"RIFF":
        return "audio/wav"
    return "audio/mpeg" if told in ("", "application/octet-stream", "audio/mp3") else told
