"""System tools: what do the platform's own tools look like to the model, and what do they do?

Some change the conversation (`Effect`), some need a telephone and are handed to the driver that has one.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import SystemTool
from convai_lab.conversations.turn import ToolCall
from convai_lab.dialogue.author_settings import setting_in
from convai_lab.dialogue.fault import ToolFault
from convai_lab.errors import ConvaiLabError
from convai_lab.providers.base import LLM, ToolSpec

LANGUAGE_CODE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
PHONE_TOOLS = ("transfer_to_number", "play_keypad_touch_tone", "voicemail_detection")


class EndCall(NamedTuple):
    """The conversation ends once the reply is complete; `message` is the last thing said."""

    reason: str
    message: str


class SkipTurn(NamedTuple):
    """The agent says nothing and waits for the user."""

    reason: str


class SwitchLanguage(NamedTuple):
    """The conversation goes on in another language."""

    language: str


class NextAgent(NamedTuple):
    """The agent that takes over in a transfer, and the model that speaks for it."""

    agent: Agent
    llm: LLM


class AgentTransfer(NamedTuple):
    """Another agent takes over once the reply is complete."""

    to: NextAgent
    message: str
    delay_secs: float
    with_first_message: bool


Effect = EndCall | SkipTurn | SwitchLanguage | AgentTransfer
"""What a system tool changes in the conversation."""

FindAgent = Callable[[str], Awaitable[NextAgent]]
"""How a driver finds the agent with this id; raises a `ConvaiLabError` when there is none."""


class Answer(NamedTuple):
    """What a tool gave: the text for the model, and the effect on the conversation."""

    value: str
    effect: Effect | None = None


def system_tool_spec(tool: SystemTool, agent: Agent) -> ToolSpec:
    """Return the tool as the model sees it."""
    kind = tool.kind
    description = tool.description or _DESCRIPTIONS.get(kind, "")
    if choices := _choices(tool, kind):
        description = f"{description}\n{choices}".strip()
    return ToolSpec(name=tool.name, description=description, parameters=_parameters(tool, kind, agent))


async def answer_system_tool(tool: SystemTool, call: ToolCall, *, agent: Agent, find_agent: FindAgent | None) -> Answer:
    """Do what a system tool does in any conversation, without a telephone.

    Raises:
        ToolFault: It cannot be done here; the model is told why.
    """
    kind = tool.kind
    if kind == "end_call":
        return Answer("The conversation ends now.", EndCall(_word(call, "reason"), _word(call, "message")))
    if kind == "skip_turn":
        return Answer("You wait silently for the user.", SkipTurn(_word(call, "reason")))
    if kind == "language_detection":
        return _switch_language(_word(call, "language"), agent)
    if kind == "transfer_to_agent":
        return await _transfer(tool, call, find_agent)
    if kind in PHONE_TOOLS:
        raise ToolFault(f"{kind} needs a telephone call, and this conversation is none", "not_supported")
    raise ToolFault(f"this platform has no system tool {kind!r}", "not_supported")


def languages_of(agent: Agent) -> tuple[str, ...]:
    """Return the languages the agent may switch to; empty when it was not limited."""
    presets = setting_in(agent.extra, "language_presets")
    return tuple(dict.fromkeys((agent.language, *presets))) if isinstance(presets, Mapping) and presets else ()


def _switch_language(language: str, agent: Agent) -> Answer:
    allowed = languages_of(agent)
    if not LANGUAGE_CODE.fullmatch(language):
        raise ToolFault(f"language: {language[:40]!r} is not a language code such as 'en' or 'pt-br'", "bad_arguments")
    if allowed and language not in allowed:
        raise ToolFault(f"language: {language!r} is not one of {', '.join(allowed)}", "bad_arguments")
    return Answer(f"The conversation goes on in {language}.", SwitchLanguage(language))


async def _transfer(tool: SystemTool, call: ToolCall, find_agent: FindAgent | None) -> Answer:
    transfers, number = _transfers(tool), call.arguments.get("agent_number")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(transfers):
        raise ToolFault(f"agent_number: must be from 0 to {len(transfers) - 1}", "bad_arguments")
    transfer = transfers[number]
    agent_id = str(transfer.get("agent_id") or "")
    if find_agent is None or not agent_id:
        raise ToolFault("no other agent can take over in this conversation", "not_supported")
    try:
        found = await find_agent(agent_id)
    except ConvaiLabError as error:
        raise ToolFault(f"the agent to transfer to is not available: {error}", "transfer_failed") from error
    effect = AgentTransfer(
        found,
        str(transfer.get("transfer_message") or ""),
        _millis(transfer.get("delay_ms")) / 1000,
        bool(transfer.get("enable_transferred_agent_first_message")),
    )
    return Answer(f"The conversation is handed to {found.agent.name}.", effect)


def _transfers(tool: SystemTool) -> list[Mapping[str, Any]]:
    listed = tool.params.get("transfers")
    return [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, (list, tuple)) else []


def _millis(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and 0 <= value <= 60_000 else 0.0


def _word(call: ToolCall, name: str) -> str:
    value = call.arguments.get(name)
    return value if isinstance(value, str) else ""


def _choices(tool: SystemTool, kind: str) -> str:
    """List where a transfer may go, and when."""
    if kind == "transfer_to_agent":
        lines = [f"- agent_number {n}: {t.get('condition', '')}" for n, t in enumerate(_transfers(tool))]
    elif kind == "transfer_to_number":
        lines = [f"- {_destination(t)}: {t.get('condition', '')}" for t in _transfers(tool)]
    else:
        lines = []
    return "\n".join(lines)


def _destination(transfer: Mapping[str, Any]) -> str:
    target = transfer.get("transfer_destination")
    target = target if isinstance(target, Mapping) else {}
    return str(target.get("phone_number") or target.get("sip_uri") or transfer.get("phone_number") or "")


def _parameters(tool: SystemTool, kind: str, agent: Agent) -> dict[str, Any]:
    properties: dict[str, Any] = {"reason": _text("Why you call this tool.")}
    required: list[str] = []
    if kind == "end_call":
        properties["message"] = _text("A last message to the user, such as a goodbye, unless you just said one.")
    elif kind == "language_detection":
        properties["language"] = _text("The code of the language to go on in, such as 'en' or 'de'.")
        if allowed := languages_of(agent):
            properties["language"]["enum"] = list(allowed)
        required.append("language")
    elif kind == "transfer_to_agent":
        last = max(0, len(_transfers(tool)) - 1)
        properties["agent_number"] = {"type": "integer", "minimum": 0, "maximum": last, "description": "Which agent."}
        required.append("agent_number")
    elif kind == "transfer_to_number":
        properties |= _number_properties(tool)
        required.extend(("transfer_number", "client_message", "agent_message"))
    elif kind == "play_keypad_touch_tone":
        properties["dtmf_tones"] = _text("The keys to press: 0-9, *, #, and w for half a second of pause.")
        required.append("dtmf_tones")
    return {"type": "object", "properties": properties, "required": required}


def _number_properties(tool: SystemTool) -> dict[str, Any]:
    number = _text("The number to transfer to.")
    if numbers := [d for t in _transfers(tool) if (d := _destination(t))]:
        number["enum"] = list(dict.fromkeys(numbers))
    return {
        "transfer_number": number,
        "client_message": _text("What to tell the user before the transfer."),
        "agent_message": _text("A summary for the person who takes the call."),
    }


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


_DESCRIPTIONS = {
    "end_call": "End the conversation when the user is done or says goodbye.",
    "skip_turn": "Say nothing and wait, when the user asks for a moment or is not talking to you.",
    "language_detection": "Go on in the user's language when they speak or ask for another one.",
    "transfer_to_agent": "Hand the conversation to another agent when its condition holds.",
    "transfer_to_number": "Transfer the call to a person when a condition holds.",
    "play_keypad_touch_tone": "Press keys on the telephone, to get through a menu.",
    "voicemail_detection": "Report that a voicemail greeting answered instead of a person.",
}
