"""Audio files: where does the sound of a conversation lie, and when does it go away?"""

from __future__ import annotations

import contextlib
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convai_lab.conversations.wire_table import OURS
from convai_lab.errors import InvalidValueError, StorageError

if TYPE_CHECKING:
    from convai_lab.voice.recording import Recording

logger = logging.getLogger("convai_lab.server")

FOLDER = "audio"
LOST = "its recording is not there"
_WAV_HEADER_BYTES = 44
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


def recording_file(home: Path, conversation_id: str) -> Path:
    """Return where the sound of a conversation lies, whether or not there is any.

    Raises:
        InvalidValueError: The id could be the way to another place.
    """
    if not _PLAIN_ID.fullmatch(conversation_id):
        raise InvalidValueError("holds other characters than letters, digits, _ and -", field="conversation_id")
    return home / FOLDER / f"{conversation_id}.wav"


def start_recording(home: Path, conversation_id: str) -> Recording | None:
    """Start to record a conversation; None when the disk does not take it, which the log then says.

    A conversation that goes on keeps the sound of its first part, under a name of its own.
    """
    from convai_lab.voice.recording import Recording

    try:
        path = recording_file(home, conversation_id)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _set_aside(path)
    except (OSError, InvalidValueError) as error:
        logger.warning("conversation %s is not recorded: %s", conversation_id, error)
        return None
    made = Recording(path)
    if made.problem:
        logger.warning("conversation %s is not recorded: %s", conversation_id, made.problem)
        return None
    return made


def recordings_of(home: Path, conversation_id: str) -> list[Path]:
    """Return all files of a conversation's sound, oldest first: one for each time that it was taken up."""
    return [path for path in _files_of(home, conversation_id) if _is_sound(path)]


def has_recording(home: Path, conversation_id: str) -> bool:
    """Say whether there is sound of a conversation; of an id that cannot be one there is none."""
    with contextlib.suppress(InvalidValueError):
        if _is_sound(recording_file(home, conversation_id)):
            return True  # at once: to look for its earlier parts is to read the whole folder
        return bool(recordings_of(home, conversation_id))
    return False


def what_is_missing(recording: Recording) -> str | None:
    """Say why a recording that is over does not hold everything, for whoever wants to hear it; None when it does."""
    if recording.problem and not _is_sound(recording.path):
        return "the disk took none of its sound"
    if recording.problem:
        return "its recording stops before its end, because the disk took no more"
    return f"its recording stops after {recording.secs:.0f} s, the longest there can be" if recording.missing else None


def as_it_lies(home: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Return a stored conversation with what is true of its sound: a recording may have gone since it was made."""
    own = document.get(OURS) or {}
    if not document.get("has_audio") or own.get("source", "live") != "live" or own.get("platform", "local") != "local":
        return document
    if has_recording(home, str(document.get("conversation_id"))):
        return document
    silent = dict.fromkeys(("has_audio", "has_user_audio", "has_response_audio"), False)
    return {**document, **silent, OURS: {**own, "audio_problem": LOST}}


def delete_recording(home: Path, conversation_id: str) -> None:
    """Delete the sound of a conversation; harmless when there is none.

    Raises:
        StorageError: The disk does not let it go.
    """
    with contextlib.suppress(InvalidValueError):
        for path in _files_of(home, conversation_id):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"cannot delete {path} ({error.strerror})") from None


def _files_of(home: Path, conversation_id: str) -> list[Path]:
    newest = recording_file(home, conversation_id)
    earlier = sorted(newest.parent.glob(f"{conversation_id}.part-*.wav"))
    return [*earlier, *([newest] if newest.exists() else [])]


def _is_sound(path: Path) -> bool:
    """Say whether there is a WAV file with sound in it: the last number of its header counts that."""
    try:
        with path.open("rb") as file:
            return any(file.read(_WAV_HEADER_BYTES)[-4:])
    except OSError:
        return False


def _set_aside(path: Path) -> None:
    if path.exists():
        number = len(list(path.parent.glob(f"{path.stem}.part-*.wav"))) + 1
        path.rename(path.with_name(f"{path.stem}.part-{number:04}.wav"))
