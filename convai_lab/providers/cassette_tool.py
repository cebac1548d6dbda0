"""Cassette tool: how is what a tool answered recorded and replayed?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from convai_lab.errors import ConvaiLabError, InvalidValueError
from convai_lab.providers.cassette_error import error_from_plain, error_to_plain

if TYPE_CHECKING:
    from convai_lab.providers.cassette import Cassette


async def answered(
    cassette: Cassette, name: str, arguments: Mapping[str, Any], run: Callable[[], Awaitable[Any]]
) -> Any:
    """Return what the tool answered when it was recorded, or run it and keep what it answers.

    Raises:
        TimeoutError: It took too long when it was recorded.
    """
    from convai_lab.providers.cassette import plain

    asked = plain({"name": name, "arguments": _json(arguments)})
    recording = cassette.find("tool", asked)
    loop = asyncio.get_running_loop()
    began = loop.time()
    if recording is not None:
        where = f"{cassette.name} line {recording.line}"
        secs = recording.answer.get("ended", 0.0)
        if isinstance(secs, bool) or not isinstance(secs, int | float):
            raise InvalidValueError("must be seconds", field=f"{where}: ended")
        await cassette.wait_until(secs, since=began)
        if recording.answer.get("cut"):
            raise TimeoutError
        if "error" in recording.answer:
            raise error_from_plain(recording.answer["error"], f"{where}: error")
        return recording.answer.get("value")
    try:
        value = _json(await run())
    except ConvaiLabError as error:
        cassette.keep("tool", asked, {"error": error_to_plain(error), "ended": _secs(loop.time() - began)})
        raise
    except (asyncio.CancelledError, TimeoutError):  # nobody waited any longer
        cassette.keep("tool", asked, {"cut": True, "ended": _secs(loop.time() - began)})
        raise
    cassette.keep("tool", asked, {"value": value, "ended": _secs(loop.time() - began)})
    return value


def _json(value: Any) -> Any:
    """Return a value as plain JSON, as a model would see it."""
    return json.loads(json.dumps(value, default=str))


def _secs(secs: float) -> float:
    return round(max(0.0, secs), 6)
