"""Turn-taking: when may the agent speak, and how long does it wait?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

TurnMode = Literal["silence", "turn"]
Eagerness = Literal["patient", "normal", "eager"]

NEVER = -1
_OLDER_MODES = {"server_vad": "silence", "turn_based": "turn"}


@dataclass(frozen=True, kw_only=True)
class TurnTaking:
    """How the agent takes turns; the defaults are the platform's.

    `mode` ``silence`` ends a turn after enough silence (``server_vad`` in older configurations); ``turn`` also
    listens to what was said (``turn_based``). A `silence_end_call_secs` of None means never.
    """

    mode: TurnMode = "turn"
    eagerness: Eagerness = "normal"
    spelling_patience: Literal["auto", "off"] = "auto"
    timeout_secs: float = 7.0
    initial_wait_secs: float | None = None
    silence_end_call_secs: float | None = None
    soft_timeout_secs: float | None = None
    soft_timeout_message: str = "Hhmmmm...yeah."
    speculative: bool = False
    first_message_interruptible: bool = True
    ignore_terms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.mode, str):
            object.__setattr__(self, "mode", _OLDER_MODES.get(self.mode, self.mode))
        for name in ("silence_end_call_secs", "soft_timeout_secs"):
            if getattr(self, name) == NEVER:
                object.__setattr__(self, name, None)
        terms: Sequence[str] = self.ignore_terms
        if isinstance(terms, list):
            object.__setattr__(self, "ignore_terms", tuple(terms))
