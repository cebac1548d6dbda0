"""Transit: how long does sound take between the user and us, as measured at the user's end?"""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_SECS = 3.0
"""Sound that is heard so much later than it was sent is not that sound: an agent also pauses within a turn."""


@dataclass(frozen=True)
class Transit:
    """How long sound takes each way of late.

    `is_at_start` says that it was measured as the agent began to be heard, and `heard_at` when that was, by our clock:
    then nothing needs to be estimated of the way to the user.
    """

    to_agent_ms: float
    to_user_ms: float
    is_at_start: bool = False
    heard_at: float | None = None

    def ms(self, audible_at: float) -> float:
        """Return how long both ways took together for an answer that was sent at this instant."""
        took = None if self.heard_at is None else self.heard_at - audible_at
        is_known = took is not None and 0 <= took <= LONGEST_SECS
        return self.to_agent_ms + (1000 * took if is_known and took is not None else self.to_user_ms)
