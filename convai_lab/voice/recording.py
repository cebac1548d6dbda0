"""Recording: what was to be heard in a session, and when?

A stereo WAV at the session's rate, the user left and the agent right. It is written while the session runs, and its
header is right at any moment: a process that is killed leaves a file that plays, up to its last third of a second.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from convai_lab.errors import InvalidValueError
from convai_lab.voice.resampling import Resampler
from convai_lab.voice.sound import SAMPLE_BYTES, SESSION_RATE_HZ, Sound, checked_rate, mix
from convai_lab.voice.wav import HEADER_BYTES, wav_header

Channel = Literal["user", "agent", "both"]

FRAME_BYTES = 2 * SAMPLE_BYTES
DEFAULT_MAX_SECS = 2 * 3600.0
LONGEST_SECS = 6 * 3600.0
"""At 48 kHz a WAV file, which holds 4 GiB at most, lasts so long."""
WRITE_SECS = 0.2
"""So much is kept in memory before it is written, so that a frame is not a system call."""
SETTLE_SECS = 0.1
"""The newest is not written yet, because what comes a little late belongs there."""
BLOCK_SECS = 10
SAME_PLACE = 2
"""Audio at another rate that begins within so many samples of where the last piece ended goes on from it."""


class Recording:
    """Two channels on one line of time, counted in samples of `rate_hz` since the session began.

    The user's audio moves the line of time on, and so does `advance`; what lies before it is written. The agent may
    be ahead of it, because its speech is sent before it is played: `cut_agent` takes back what was not heard. Audio
    that comes late is put in its place. Where audio is given twice for the same place, the later one counts.

    A disk that fails ends the recording and never the call: `problem` then says why. What comes after `max_secs` is
    left out, and `is_truncated` says so.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, rate_hz: int = SESSION_RATE_HZ, max_secs: float = DEFAULT_MAX_SECS
    ) -> None:
        if not 0 < max_secs <= LONGEST_SECS:
            raise InvalidValueError(f"from 0 to {LONGEST_SECS:.0f} seconds, got {max_secs}", field="max_secs")
        self.path, self.rate_hz = Path(path), checked_rate(rate_hz)
        self.problem: str | None = None
        limit = round(max_secs * rate_hz)
        self._user, self._agent = _Lane(rate_hz, limit), _Lane(rate_hz, limit)
        self._limit, self._now, self._written = limit, 0, 0
        self._file: io.FileIO | None = None
        self._try(self._open)

    def user(self, pcm: bytes, at: int | None = None, *, rate_hz: int = SESSION_RATE_HZ) -> None:
        """Record what the user said from sample `at` of the recording on, or after what they said before."""
        if self._file is not None:
            self._user.put(pcm, at, rate_hz)
            self._move_to(self._user.next)

    def agent(self, pcm: bytes, at: int | None = None, *, rate_hz: int = SESSION_RATE_HZ) -> None:
        """Record what the agent says from sample `at` of the recording on, which may lie in the future.

        Without `at` it comes after what the agent said before, and not before now.
        """
        if self._file is not None:
            self._agent.put(pcm, max(self._agent.next, self._now) if at is None else at, rate_hz)

    def cut_agent(self, at: int) -> None:
        """Take back what the agent would have said from sample `at` on: nobody heard it."""
        if self._file is not None:
            self._agent.cut(at)

    def advance(self, to: int) -> None:
        """Let time pass up to sample `to`, also when the user sends nothing."""
        if self._file is not None:
            self._move_to(to)

    def stop(self, at: int | None = None) -> None:
        """Write what is left, and close the file; what the agent would have said from `at` on is left out."""
        if self._file is not None:
            if at is not None:
                self._agent.cut(at)
                self._now = max(self._now, min(at, self._limit))
            self._user.settle()
            self._agent.settle()
            self._now = max(self._now, min(self._limit, max(self._user.end, self._agent.end)))
            self._try(self._write_all)
            self._close()

    @property
    def secs(self) -> float:
        """Return how long the recording is."""
        return self._now / self.rate_hz

    @property
    def is_truncated(self) -> bool:
        """Say whether there was more to record than `max_secs`."""
        return self._user.is_truncated or self._agent.is_truncated

    @property
    def missing(self) -> str | None:
        """Say why not all of the sound is there; None when it is."""
        longest = f"{self._limit / self.rate_hz:g} s is the longest recording" if self.is_truncated else None
        return self.problem or longest

    def _move_to(self, at: int) -> None:
        """Let time pass; what is long enough ago to be worth a write is written."""
        self._now = max(self._now, min(at, self._limit))
        if self._now - self._written >= (WRITE_SECS + SETTLE_SECS) * self.rate_hz:
            self._try(lambda: self._write(self._now - round(SETTLE_SECS * self.rate_hz)))

    def _try(self, step: Any) -> None:
        try:
            step()
        except OSError as error:
            self.problem = f"the recording {self.path} stopped: {error.strerror or error}"
            self._close()

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = io.FileIO(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "r+")
        self._write_at(0, wav_header(0, self.rate_hz, channels=2))

    def _write_all(self) -> None:
        self._write(self._now)

    def _write(self, to: int) -> None:
        """Write all up to a sample: first the samples, then a header that counts them."""
        step = BLOCK_SECS * self.rate_hz
        while self._written < to:
            until = min(to, self._written + step)
            block = _interleaved(self._user.take(until), self._agent.take(until))
            self._write_at(HEADER_BYTES + self._written * FRAME_BYTES, block)
            self._written = until
        for side, lane in enumerate((self._user, self._agent)):
            for at, pcm in lane.corrections():
                self._correct(side, at, pcm)
        self._write_at(0, wav_header(self._written * FRAME_BYTES, self.rate_hz, channels=2))

    def _correct(self, side: int, at: int, pcm: bytes) -> None:
        """Replace samples of one channel that are written already."""
        file, offset = self._open_file(), HEADER_BYTES + at * FRAME_BYTES
        file.seek(offset)
        frames = bytearray(file.read(len(pcm) // SAMPLE_BYTES * FRAME_BYTES))
        _channels(frames)[:, side] = _samples(pcm)[: len(frames) // FRAME_BYTES]
        self._write_at(offset, frames)

    def _write_at(self, offset: int, data: bytes | bytearray) -> None:
        file = self._open_file()
        file.seek(offset)
        left = memoryview(data)
        while left:
            left = left[file.write(left) or 0 :]

    def _open_file(self) -> io.FileIO:
        assert self._file is not None
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()


class _Lane:
    """One channel: what is not written yet from sample `base` on, and corrections of what is."""

    def __init__(self, rate_hz: int, limit: int) -> None:
        self.is_truncated = False
        self._rate, self._limit = rate_hz, limit
        self._base = 0
        self._waiting = bytearray()
        self._late: list[tuple[int, bytes]] = []
        self._resampler: Resampler | None = None
        self._begun_at = self._made_to = self._fed = 0

    @property
    def end(self) -> int:
        """Return the sample after the last one."""
        return self._base + len(self._waiting) // SAMPLE_BYTES

    @property
    def next(self) -> int:
        """Return where audio goes that continues what came before, also what still waits in the resampler."""
        if self._resampler is None:
            return self.end
        return self._begun_at + round(self._fed * self._rate / self._resampler.from_hz)

    def put(self, pcm: bytes, at: int | None, rate_hz: int) -> None:
        """Put audio in its place (None: after the last); half a sample at its end is dropped."""
        pcm = pcm[: len(pcm) // SAMPLE_BYTES * SAMPLE_BYTES]
        at = self.next if at is None else at
        if rate_hz == self._rate:
            self.settle()
            self._place(pcm, at)
            return
        if self._resampler is None or self._resampler.from_hz != rate_hz or abs(at - self.next) > SAME_PLACE:
            self.settle()
            self._resampler, self._begun_at, self._made_to, self._fed = Resampler(rate_hz, self._rate), at, at, 0
        self._fed += len(pcm) // SAMPLE_BYTES
        self._place_made(self._resampler.feed(pcm))

    def settle(self) -> None:
        """Put what the resampler still holds in its place."""
        if self._resampler is not None:
            resampler, self._resampler = self._resampler, None
            self._place_made(resampler.flush())

    def cut(self, at: int) -> None:
        """Leave out everything from `at` on."""
        self.settle()
        kept = max(0, at - self._base) * SAMPLE_BYTES
        del self._waiting[kept:]
        self._late = [(start, pcm[: max(0, at - start) * SAMPLE_BYTES]) for start, pcm in self._late]
        if at < self._base:
            self._late.append((max(0, at), bytes((self._base - max(0, at)) * SAMPLE_BYTES)))

    def take(self, until: int) -> bytes:
        """Give away everything before `until`, silence where there was nothing."""
        size = (until - self._base) * SAMPLE_BYTES
        taken = bytes(self._waiting[:size]).ljust(size, b"\0")
        del self._waiting[:size]
        self._base = until
        return taken

    def corrections(self) -> Iterator[tuple[int, bytes]]:
        """Give away what belongs before `base`."""
        late, self._late = self._late, []
        return (one for one in late if one[1])

    def _place_made(self, pcm: bytes) -> None:
        self._place(pcm, self._made_to)
        self._made_to += len(pcm) // SAMPLE_BYTES

    def _place(self, pcm: bytes, at: int) -> None:
        if at < 0:
            pcm, at = pcm[-at * SAMPLE_BYTES :], 0
        room = max(0, self._limit - at) * SAMPLE_BYTES
        if len(pcm) > room:
            self.is_truncated, pcm = True, pcm[:room]
        if at < self._base and pcm:
            before = (self._base - at) * SAMPLE_BYTES
            self._late.append((at, pcm[:before]))
            pcm, at = pcm[before:], self._base
        if pcm:
            offset = (at - self._base) * SAMPLE_BYTES
            self._waiting += bytes(max(0, offset - len(self._waiting)))
            self._waiting[offset : offset + len(pcm)] = pcm


def slice_recording(
    path: str | os.PathLike[str], start_secs: float, end_secs: float, channel: Channel = "both"
) -> Sound:
    """Return a part of a recording: one channel, or both mixed; only that part of the file is read.

    Raises:
        InvalidValueError: The times or the channel make no sense, or the file is no recording.
    """
    if not 0 <= start_secs <= end_secs < float("inf"):
        raise InvalidValueError(f"from {start_secs} to {end_secs} seconds is no part of a recording")
    if channel not in ("user", "agent", "both"):
        raise InvalidValueError(f"user, agent or both, got {channel!r}", field="channel")
    rate_hz, frames = _read_frames(Path(path), start_secs, end_secs)
    sides = [_channels(frames)[:, side].tobytes() for side in (0, 1)]
    return Sound(mix(*sides) if channel == "both" else sides[channel == "agent"], rate_hz)


def _read_frames(path: Path, start_secs: float, end_secs: float) -> tuple[int, bytearray]:
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
            rate_hz, size = int.from_bytes(head[24:28], "little"), int.from_bytes(head[40:44], "little")
            if head != wav_header(size, rate_hz, channels=2):
                raise InvalidValueError(f"{path} is no recording of a session")
            first = min(size, round(start_secs * rate_hz) * FRAME_BYTES)
            file.seek(HEADER_BYTES + first)
            data = file.read(min(size, round(end_secs * rate_hz) * FRAME_BYTES) - first)
    except OSError as error:
        raise InvalidValueError(f"{path} cannot be read: {error.strerror or error}") from None
    return rate_hz, bytearray(data[: len(data) // FRAME_BYTES * FRAME_BYTES])


def _interleaved(user: bytes, agent: bytes) -> bytearray:
    frames = bytearray(2 * len(user))
    both = _channels(frames)
    both[:, 0], both[:, 1] = _samples(user), _samples(agent)
    return frames


def _channels(frames: bytearray) -> Any:
    import numpy as np

    return np.frombuffer(frames, dtype="<i2").reshape(-1, 2)


def _samples(pcm: bytes) -> Any:
    import numpy as np

    return np.frombuffer(pcm, dtype="<i2")
