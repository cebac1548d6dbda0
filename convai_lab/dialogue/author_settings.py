"""Author settings: where does a setting stand in what an agent or a tool keeps of the platform's configuration?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 3


def setting_in(extra: Mapping[str, Any], name: str, *, depth: int = MAX_DEPTH) -> Any | None:
    """Return the setting of that name in `extra` or in an object inside it; None when it stands nowhere."""
    if name in extra:
        return extra[name]
    if not extra or depth == 0:
        return None
    inside = (setting_in(part, name, depth=depth - 1) for part in extra.values() if isinstance(part, Mapping))
    return next((found for found in inside if found is not None), None)
