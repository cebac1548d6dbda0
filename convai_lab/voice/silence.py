"""Silence: nobody says anything; what is due, and when?

`Quiet` counts the silence of both sides in samples of the user's audio. `Keypad` collects keys that are pressed
shortly after each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.clock import Clock
from convai_lab.voice.answering import Spawn
from convai_lab.voice.vad import samples_of, secs_of

FOREVER = 1 << 62
KEYS = "0123456789*#ABCDabcd"
KEYPAD_SECS = 1.5
"""Keys are one message when none follows for so long; ``#`` ends it at once."""

Due = Literal["reply", "end"]


class Quiet:
    """Counts silence: since either side spoke, and since the user did (what the agent says in between is left out).

    `is_patient` is true while the agent wants to wait for the user, however long it takes.
    """

    def __init__(self) -> None:
        self.is_patient = False
        self._both = self._user = 0
        self._reply_after = self._end_after = FOREVER

    def adopt(self, turn: TurnTaking, *, is_initial: bool) -> None:
        """Take over how long to wait; `is_initial` when nobody has said anything yet."""
        patience = turn.timeout_secs
        if is_initial and turn.initial_wait_secs is not None:
            patience = turn.initial_wait_secs
        self._reply_after = samples_of(patience * 1000) if patience > 0 else FOREVER
        end = turn.silence_end_call_secs
        self._end_after = FOREVER if end is None or end < 0 else samples_of(end * 1000)

    @property
    def secs_left(self) -> float:
        """Return how much more silence there may be before something is due."""
        return secs_of(min(self._reply_after - self._both, self._end_after - self._user))

    def agent_spoke(self) -> None:
        """Note that the agent speaks, or thinks."""
        self._both = 0

    def user_spoke(self) -> None:
        """Note that the user speaks, or is doing something."""
        self._both = self._user = 0
        self.is_patient = False

    def count(self, samples: int) -> Due | None:
        """Count some silence, and return what is due after it."""
        self._both += samples
        self._user += samples
        if self._user >= self._end_after:
            return "end"
        if self._both < self._reply_after:
            return None
        self._both = 0
        return None if self.is_patient else "reply"


class Keypad:
    """Collects the keys of a telephone; `when_done` gets all that were pressed in a row."""

    def __init__(self, clock: Clock, spawn: Spawn, when_done: Callable[[str], None]) -> None:
        self._clock, self._spawn, self._when_done = clock, spawn, when_done
        self._keys = ""
        self._timer: asyncio.Task[None] | None = None

    def press(self, key: str) -> bool:
        """Take a key; false when there is no such key."""
        if len(key) != 1 or key not in KEYS:
            return False
        self._keys += key
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._spawn(self._wait(0 if key == "#" else KEYPAD_SECS))
        return True

    async def _wait(self, secs: float) -> None:
        await self._clock.sleep(secs)
        keys, self._keys, self._timer = self._keys, "", None
        self._when_done(keys)
