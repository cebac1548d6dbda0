"""Wire format: how does an agent travel as the platform's JSON, and how is it read back without losing anything?

What an `Agent` has no field for stays in `Agent.extra` and is written back, with the agent's own fields laid over
it. What the platform has no field for (expected phrases) travels under ``convai_lab`` at the top of the body: the
platform ignores unknown keys there, while it may refuse them further inside. The text of inline knowledge travels
in its own entry, under ``text``. Neither is sent to the cloud.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from convai_lab.agents.agent import Agent, checking_only, with_absent_fields
from convai_lab.agents.plain_json import oversize, plain_json, shown
from convai_lab.agents.turn_taking import NEVER, TurnTaking
from convai_lab.agents.voices import VOICES, voice_name
from convai_lab.agents.wire_fields import MISSING, field_at
from convai_lab.agents.wire_parts import PARTS
from convai_lab.agents.wire_paths import checked_type, plain_number, put_path, take_path
from convai_lab.agents.wire_seed import normalise
from convai_lab.agents.wire_tools import tool_from_wire, tool_to_wire
from convai_lab.errors import InvalidConfigError, NotSupportedError, Problem

__all__ = ["PATHS", "agent_from_wire", "agent_to_wire", "tool_from_wire", "tool_to_wire"]

READ_ONLY = (
    "agent_id",
    "version_id",
    "metadata",
    "phone_numbers",
    "whatsapp_accounts",
    "access_info",
    "branch_id",
    "main_branch_id",
    "default_hold_audio_url",
    "version_description",
)
"""What the platform tells about an agent, or wants to know of a change, that is no part of what the agent is."""

_CONFIG = "conversation_config"
_PROMPT = f"{_CONFIG}.agent.prompt"


def _as_is(value: Any) -> Any:
    return value


class _Single(NamedTuple):
    """One field that has one place in the platform's JSON."""

    path: str
    write: Callable[[Any], Any] = _as_is
    read: Callable[[Any], Any] = _as_is


def _never_from_none(value: Any) -> Any:
    return NEVER if value is None else plain_number(value)


def _none_from_never(value: Any) -> Any:
    return None if value == NEVER else value


def _voice_id(voice: Any) -> Any:
    return VOICES.get(voice, voice)


def _not(value: Any) -> Any:
    return not value if isinstance(value, bool) else value


_SINGLES: dict[str, _Single] = {
    "name": _Single("name"),
    "prompt": _Single(f"{_PROMPT}.prompt"),
    "first_message": _Single(f"{_CONFIG}.agent.first_message"),
    "language": _Single(f"{_CONFIG}.agent.language"),
    "llm": _Single(f"{_PROMPT}.llm"),
    "temperature": _Single(f"{_PROMPT}.temperature"),
    "max_tokens": _Single(f"{_PROMPT}.max_tokens", _never_from_none, _none_from_never),
    "reasoning_effort": _Single(f"{_PROMPT}.reasoning_effort"),
    "thinking_budget": _Single(f"{_PROMPT}.thinking_budget"),
    "voice": _Single(f"{_CONFIG}.tts.voice_id", _voice_id, voice_name),
    "tts_model": _Single(f"{_CONFIG}.tts.model_id"),
    "stability": _Single(f"{_CONFIG}.tts.stability"),
    "similarity_boost": _Single(f"{_CONFIG}.tts.similarity_boost"),
    "speed": _Single(f"{_CONFIG}.tts.speed"),
    "asr_keywords": _Single(f"{_CONFIG}.asr.keywords", list, tuple),
    "input_audio_format": _Single(f"{_CONFIG}.asr.user_input_audio_format"),
    "output_audio_format": _Single(f"{_CONFIG}.tts.agent_output_audio_format"),
    "text_only": _Single(f"{_CONFIG}.conversation.text_only"),
    "max_duration_secs": _Single(f"{_CONFIG}.conversation.max_duration_seconds", plain_number),
    "timezone": _Single(f"{_PROMPT}.timezone"),
    "tool_ids": _Single(f"{_PROMPT}.tool_ids", list, tuple),
    "variables": _Single(f"{_CONFIG}.agent.dynamic_variables.dynamic_variable_placeholders", plain_json),
    "client_events": _Single(f"{_CONFIG}.conversation.client_events", list, tuple),
    "enable_auth": _Single("platform_settings.auth.enable_auth"),
    "tags": _Single("tags", list, tuple),
    "turn.mode": _Single(f"{_CONFIG}.turn.mode"),
    "turn.eagerness": _Single(f"{_CONFIG}.turn.turn_eagerness"),
    "turn.spelling_patience": _Single(f"{_CONFIG}.turn.spelling_patience"),
    "turn.timeout_secs": _Single(f"{_CONFIG}.turn.turn_timeout"),
    "turn.initial_wait_secs": _Single(f"{_CONFIG}.turn.initial_wait_time"),
    "turn.silence_end_call_secs": _Single(
        f"{_CONFIG}.turn.silence_end_call_timeout", _never_from_none, _none_from_never
    ),
    "turn.soft_timeout_secs": _Single(
        f"{_CONFIG}.turn.soft_timeout_config.timeout_seconds", _never_from_none, _none_from_never
    ),
    "turn.soft_timeout_message": _Single(f"{_CONFIG}.turn.soft_timeout_config.message"),
    "turn.speculative": _Single(f"{_CONFIG}.turn.speculative_turn"),
    "turn.first_message_interruptible": _Single(f"{_CONFIG}.agent.disable_first_message_interruptions", _not, _not),
    "turn.ignore_terms": _Single(f"{_CONFIG}.turn.interruption_ignore_terms", list, tuple),
}

PATHS: dict[str, str] = {name: single.path for name, single in _SINGLES.items()}
"""Where each simple field of an agent stands in the platform's JSON."""

_NEVER_NULL = ("llm", "client_events")
"""Fields in which None means: leave it to the platform."""

_TYPES: dict[str, Any] = {
    "string": str,
    "word": str,
    "number": (int, float),
    "integer": (int, float),
    "boolean": bool,
    "map": dict,
    "list": list,
}


def agent_to_wire(agent: Agent, *, cloud: bool = False) -> dict[str, Any]:
    """Return the body that creates or updates an agent on a platform.

    For the `cloud` it holds only what the vendor's platform takes: nothing under ``convai_lab``, and inline tools
    only when there are no `tool_ids`, because it refuses both together (system tools have a place of their own).
    So store new tools first and put their ids into `tool_ids`.

    Raises:
        NotSupportedError: For the cloud, some knowledge has no id yet: it has to be uploaded first.
    """
    body: dict[str, Any] = plain_json(agent.extra)
    for name, single in _SINGLES.items():
        value = _field(agent, name)
        if (value is None and name in _NEVER_NULL) or (name in agent._absent and value == _default(name)):
            continue
        put_path(body, _split(single.path), single.write(value))
    for name, part in PARTS.items():
        value = getattr(agent, name)
        if name not in agent._absent or value != part.default:
            part.write(body, value)
    return _for_cloud(body) if cloud else body


def agent_from_wire(doc: Mapping[str, Any]) -> Agent:
    """Read an agent from the platform's JSON: an answer to GET, or a body for create, today's shape or an older one.

    What the platform stored is taken as it is: ranges and words are not judged again, only types are.

    Raises:
        InvalidConfigError: The document is no object, or a field has the wrong type.
    """
    if not isinstance(doc, Mapping):
        raise InvalidConfigError([Problem(("agent",), f"must be an object, got {shown(doc)}", "dict_type")])
    if too_big := oversize(doc):
        raise InvalidConfigError([Problem(("agent",), too_big, "too_large")])
    rest = normalise(plain_json(doc))
    where = _where_stored(rest)
    found: dict[str, Any] = {}
    for name, single in _SINGLES.items():
        value = take_path(rest, _split(single.path))
        if value is not MISSING and value is not None:
            found[name] = single.read(_checked(value, single.path))
        elif value is None and field_at(single.path).nullable and _default(name) is None:
            found[name] = None
    for name, part in PARTS.items():
        value = part.read(rest)
        if value is not MISSING:
            found[name] = value
    absent = frozenset({*_SINGLES, *PARTS} - found.keys())
    turn = {name.removeprefix("turn."): found.pop(name) for name in list(found) if name.startswith("turn.")}
    unset = {name: PARTS[name].default for name in PARTS if name in absent}
    if "client_events" in absent:
        unset["client_events"] = None
    with checking_only(frozenset()):
        made = Agent(**{**unset, **found}, turn=TurnTaking(**turn), extra=rest, **where)
    return with_absent_fields(made, absent)


def is_agent_document(written: object) -> bool:
    """Say whether something read from a file is an agent as the platform writes it, and not our own shorter form."""
    return isinstance(written, Mapping) and "conversation_config" in written


def tools_to_wire(agent: Agent) -> list[dict[str, Any]]:
    """Return the agent's tools as they stand in its body."""
    tools: list[dict[str, Any]] = agent_to_wire(agent)["conversation_config"]["agent"]["prompt"].get("tools", [])
    return tools


def _split(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def _field(agent: Agent, name: str) -> Any:
    return getattr(agent.turn, name.removeprefix("turn.")) if name.startswith("turn.") else getattr(agent, name)


def _default(name: str) -> Any:
    if name.startswith("turn."):
        return getattr(TurnTaking(), name.removeprefix("turn."))
    return None if name in _NEVER_NULL else Agent.__dataclass_fields__[name].default if name != "variables" else {}


def _checked(value: Any, path: str) -> Any:
    wire_field = field_at(path)
    checked = checked_type(value, _TYPES[wire_field.kind], _split(path))
    if wire_field.kind == "list":
        for index, item in enumerate(checked):
            checked_type(item, str, (*_split(path), index))
    return checked


def _where_stored(rest: dict[str, Any]) -> dict[str, Any]:
    """Take what says where the agent is stored out of the document."""
    metadata = rest.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    where = {
        "id": rest.get("agent_id"),
        "version_id": rest.get("version_id"),
        "version": known.get("version"),
        "created_at": known.get("created_at_unix_secs"),
        "updated_at": known.get("updated_at_unix_secs"),
    }
    for name in READ_ONLY:
        rest.pop(name, None)
    return where


def _for_cloud(body: dict[str, Any]) -> dict[str, Any]:
    body.pop("convai_lab", None)
    prompt = body.get(_CONFIG, {}).get("agent", {}).get("prompt", {})
    if prompt.get("tool_ids"):
        prompt.pop("tools", None)
    elif tools := [tool for tool in prompt.get("tools", ()) if tool.get("type") != "system"]:
        prompt["tools"] = tools
        prompt.pop("tool_ids", None)
    else:
        prompt.pop("tools", None)
    for entry in prompt.get("knowledge_base", ()):
        entry.pop("text", None)
        if not entry.get("id"):
            raise NotSupportedError(
                f"the knowledge {shown(entry.get('name'))} has no id: the cloud takes only knowledge that was "
                "uploaded to it; upload it first, or take it out of `knowledge`"
            )
    return body
