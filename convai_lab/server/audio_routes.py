"""Audio routes: hear a conversation again, over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse, Response

from convai_lab.server.answers import Refusal
from convai_lab.server.audio_files import recordings_of
from convai_lab.server.call import Call, route
from convai_lab.server.context import Platform

MEDIA_TYPE = "audio/wav"
TO_THE_END_SECS = 1e6
NOT_RECORDED = "it was not recorded (the agent's privacy settings can forbid it)"


def get_audio(call: Call) -> Any:
    """GET /v1/convai/conversations/{conversation_id}/audio: a WAV file, the user left and the agent right.

    Parts of it may be asked for with the Range header.
    """
    platform, conversation_id = call.platform, call.path["conversation_id"]
    conversation = platform.conversations.get(conversation_id)
    if not conversation.has_audio:
        why = "it was held in text" if conversation.channel == "text" else conversation.audio_problem or NOT_RECORDED
        raise Refusal(404, "audio_not_found", f"conversation {conversation_id} has no recording: {why}")
    platform.live.check_free(conversation_id)
    return recording_of(platform, conversation_id)


def recording_of(platform: Platform, conversation_id: str) -> Response:
    """Return the recording of a conversation that is over.

    Raises:
        Refusal: It is not there any more.
    """
    parts = recordings_of(platform.home, conversation_id)
    if not parts:
        raise Refusal(404, "audio_not_found", f"the recording of conversation {conversation_id} is not there any more")
    if len(parts) > 1:
        return Response(_joined(parts), media_type=MEDIA_TYPE)
    return FileResponse(parts[0], media_type=MEDIA_TYPE, filename=f"{conversation_id}.wav")


def _joined(parts: Sequence[Path]) -> bytes:
    """Return the parts of a conversation that was taken up again, one after the other."""
    import numpy as np

    from convai_lab.voice.recording import slice_recording
    from convai_lab.voice.wav import wav_header

    rate_hz = slice_recording(parts[-1], 0, 0).rate_hz
    sides = [
        b"".join(slice_recording(part, 0, TO_THE_END_SECS, side).at(rate_hz).pcm for part in parts)
        for side in ("user", "agent")
    ]
    frames = np.stack([np.frombuffer(side, dtype="<i2") for side in sides], axis=1).tobytes()
    return wav_header(len(frames), rate_hz, channels=2) + frames


ROUTES = [route("/v1/convai/conversations/{conversation_id}/audio", subject="conversation", GET=get_audio)]
