"""Taped tools: how is what a tool answered recorded, and answered again where it must not run?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from convai_lab.conversations.turn import ToolCall, ToolResult
from convai_lab.dialogue.fault import ToolFault
from convai_lab.errors import CassetteMissError, InvalidValueError
from convai_lab.providers.cassette import cassette_in_use

REPLAYED = "replayed"
"""Marks, in the result's `extra`, one that came from a recording."""


async def taped(call: ToolCall, run: Callable[[], Awaitable[ToolResult]]) -> ToolResult:
    """Return what `run` returns; with a cassette in use, what it returned when that was recorded.

    Raises:
        ToolFault: It failed, now or then, or was not recorded.
    """
    cassette = cassette_in_use()
    if cassette is None:
        return await run()
    fresh: list[ToolResult] = []

    async def answer() -> dict[str, Any]:
        try:
            fresh.append(await run())
        except ToolFault as fault:
            return {"value": str(fault), "is_error": True, "error_type": fault.error_type, "is_fault": True}
        return {"value": fresh[0].value, "is_error": fresh[0].is_error, "error_type": fresh[0].error_type}

    try:
        answered = await cassette.tool(call.name, call.arguments, answer)
    except CassetteMissError as error:  # the model is told; the cassette remembers it
        raise ToolFault(str(error), "tool_not_available") from error
    if fresh:
        return fresh[0]
    return _result(call, answered, cassette.name)


def _result(call: ToolCall, answered: Any, where: str) -> ToolResult:
    match answered:
        case {
            "value": str() as value,
            "is_error": bool() as is_error,
            "error_type": (str() | None) as error_type,
            **rest,
        }:
            if rest.get("is_fault"):
                raise ToolFault(value, error_type or "tool_error")
            return ToolResult(
                call_id=call.id,
                name=call.name,
                value=value,
                is_error=is_error,
                kind=call.kind,
                error_type=error_type,
                extra={REPLAYED: True},
            )
    raise InvalidValueError(f"{where} holds an answer of the tool {call.name[:80]} that is none", field="cassette")
