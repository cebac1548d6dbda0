"""Ear: how much of the user's audio is there to hear at an instant, and when was it spoken?"""

from __future__ import annotations

from convai_lab.voice.audio import FRAME_BYTES, FRAME_MS, SAMPLE_BYTES, SESSION_RATE_HZ, Framer

FRAME_SECS = FRAME_MS / 1000
MAX_AHEAD_SECS = 0.5
"""The user cannot speak faster than real time: audio that comes faster is heard at most so far ahead."""
GRACE_SECS = 0.2
"""When no audio has arrived for so long (or for two of the chunks it comes in), silence is heard instead."""
LONGEST_GRACE_SECS = 0.6
LATE_SECS = 1.0
"""Sound of a line that never pauses is late when it does not come: silence in its place, in the middle of a word, would
make another word of it. So long it is waited for; then the line has stopped."""
REAL_TIME_PACE = 0.75
"""Chunks that follow each other at this share of their length come at the pace of speech; faster ones were late."""
DRIFT_FRAMES = 100
"""Over so many frames the user's clock is compared with ours."""
EARLY_SECS, START_SECS = 2.0, 2.0
"""Microphones do not wait for the session: so much of what comes in its first moments may have been said before."""
MAX_LATE_SECS = 5.0
"""Audio that comes this late, after silence was heard in its place, is heard at once."""


class Ear:
    """Keeps the user's audio and the clock together; all instants are seconds of the session's clock.

    `covered` is the instant up to which audio has been heard.
    """

    def __init__(self, now: float) -> None:
        self.covered = now
        self._framer = Framer(FRAME_BYTES)
        self._late_by, self._is_late = 0.0, False
        self._arrived = now
        self._grace = GRACE_SECS
        self._least_lag = self._most_lag = 0.0
        self._frames = 0
        self._early_secs, self._began = EARLY_SECS, now

    def arrive(self, pcm: bytes, now: float) -> list[bytes]:
        """Take what arrived and return it in frames."""
        secs, gap = len(pcm) / SAMPLE_BYTES / SESSION_RATE_HZ, now - self._arrived
        is_pause, is_fast = gap > self._grace, gap < REAL_TIME_PACE * secs
        self._is_late = self._late_by > 0 and (secs > gap if is_pause else is_fast)
        if self._late_by > 0 and not self._is_late:
            self.covered = now - secs
            self._late_by = self._late_by if is_pause else 0.0
        if gap > 2 * FRAME_SECS:
            self._grace = min(LONGEST_GRACE_SECS, max(GRACE_SECS, 2 * min(secs, gap)))
        self._arrived = now
        return self._framer.feed(pcm)

    def cover(self, now: float, *, is_silent: bool = False) -> float:
        """Note that one frame that arrived is heard now, and return the instant at which it ends.

        Audio that was late takes the place of the silence that was heard instead of it. Where a session begins with
        audio from before it, silence in it takes no time, until what is heard is no more ahead of the clock:
        otherwise all that the user says later would seem to be said later than it was.
        """
        if self._is_early(now) and is_silent:
            self._early_secs -= FRAME_SECS
            return self.covered
        if self._is_late and self._late_by > 0:
            self._late_by -= FRAME_SECS
            return self.covered - self._late_by
        self.covered += FRAME_SECS
        self._follow_clock(now - self.covered, is_silent=is_silent)
        return self.covered

    def _is_early(self, now: float) -> bool:
        """Say whether the next frame would end in the future because audio from before the session was heard."""
        ahead = self.covered - now
        if ahead < FRAME_SECS / 2 and now - self._began > START_SECS:
            self._early_secs = 0.0
        return ahead > FRAME_SECS / 2 and self._early_secs > 0

    def _follow_clock(self, lag: float, *, is_silent: bool) -> None:
        """Correct what no jitter explains: the user's clock is slower than ours, or faster; little by little in speech.

        Every frame of so many was late, or seemed to come from the future: what was late for a while is not any more.
        """
        first = self._frames == 0
        self._least_lag = lag if first else min(self._least_lag, lag)
        self._most_lag = lag if first else max(self._most_lag, lag)
        self._frames += 1
        if self._frames >= DRIFT_FRAMES or lag > MAX_LATE_SECS:
            lead = max(0.0, -self._most_lag)
            back = lead if is_silent else min(FRAME_SECS, lead)
            self.covered += max(0.0, self._least_lag) - (back if lead < MAX_AHEAD_SECS / 2 else 0.0)
            self._frames = 0

    def ahead(self, now: float) -> float:
        """Return how many seconds too fast the audio is coming."""
        return self.covered - now - MAX_AHEAD_SECS

    def silence_due(self, now: float, *, is_steady: bool = False) -> int:
        """Return how many frames of silence are to be heard because no audio arrived; they count as heard.

        `is_steady` says that the line never pauses.
        """
        if now - max(self._arrived, self.covered - self._late_by) < self._patience(is_steady) - 1e-6:
            return 0
        frames = int((now - self.covered) * 1000 / FRAME_MS + 1e-6)
        self.covered += frames * FRAME_SECS
        self._late_by = min(MAX_LATE_SECS, self._late_by + frames * FRAME_SECS)
        return frames

    def stood_still(self, now: float, secs: float) -> None:
        """Note that nothing here ran for so long until now: what was said meanwhile is still on its way."""
        self._arrived = min(now, self._arrived + secs)

    def wait(self, now: float, *, is_busy: bool, is_steady: bool = False) -> float:
        """Return how long to wait before asking for silence again."""
        if self._late_by > 0:
            return FRAME_SECS if is_busy else GRACE_SECS
        return max(FRAME_SECS, max(self._arrived, self.covered) + self._patience(is_steady) - now)

    def _patience(self, is_steady: bool) -> float:
        return LATE_SECS if is_steady else self._grace
