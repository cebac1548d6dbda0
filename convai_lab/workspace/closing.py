"""Closing: what does an error event or a close code say, as a typed error?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convai_lab.errors import (
    ConvaiLabError,
    ConversationClosedError,
    MissingKeyError,
    MissingVariableError,
    ModelNotFoundError,
)
from convai_lab.settings import scrub
from convai_lab.workspace.socket import LOST_CLOSE, NORMAL_CLOSE, Closed

MAX_SENTENCE_CHARS = 600


def failure_in(frame: Mapping[str, Any], *, model: str = "") -> ConvaiLabError | None:
    """Return the error that an ``error`` frame stands for; None for any other frame.

    `model` is what the agent speaks with, for the message about a missing key.
    """
    if frame.get("type") != "error":
        return None
    event = frame.get("error_event")
    event = event if isinstance(event, Mapping) else {}
    details = event.get("details")
    details = details if isinstance(details, Mapping) else {}
    said = _sentence(event)
    kind = event.get("error_type")
    if kind == "missing_key" and isinstance(variable := details.get("variable"), str):
        needed_for = _before(said, f" needs {variable}") or (f"the model {model}" if model else "the agent's model")
        otherwise = _before(said.partition("the keyring, or ")[2], " to go on")
        return MissingKeyError(variable[:200], needed_for=needed_for, instead=otherwise or "use --llm offline")
    if kind == "missing_dynamic_variable" and (names := _strings(details.get("names"))):
        return MissingVariableError(names, where=_before(said, " uses {{") or "the agent")
    if kind == "model_not_found":
        return _model_not_found(said, details, model)
    code = event.get("code")
    return ConversationClosedError(
        f"the platform ended the conversation: {said}", code=code if isinstance(code, int) else None, body=dict(event)
    )


def closed_error(how: Closed, *, during_reply: bool) -> ConversationClosedError:
    """Return the error for a conversation that is closed although there was more to say."""
    when = "before the reply was complete" if during_reply else "before this was said"
    if how.code == NORMAL_CLOSE:
        who = "it was ended here" if how.reason == "user" else "the agent ended the conversation"
        return ConversationClosedError(f"{who} {when}", code=how.code)
    if how.code == LOST_CLOSE:
        return ConversationClosedError(f"the connection was lost {when}; what was said so far is stored", code=how.code)
    reason = f": {how.reason}" if how.reason else ""
    return ConversationClosedError(f"the platform closed the conversation {when} ({how.code}){reason}", code=how.code)


def _model_not_found(said: str, details: Mapping[str, Any], model: str) -> ModelNotFoundError:
    provider = details.get("provider")
    provider = provider if isinstance(provider, str) and provider else "the model's vendor"
    return ModelNotFoundError(
        said.removeprefix(f"{provider}: ").partition(" (did you mean ")[0],
        provider=provider,
        model=str(details.get("model") or model)[:200],
        suggestions=_strings(details.get("suggestions")),
    )


def _before(said: str, words: str) -> str:
    """Return what `said` says before `words`, empty when they are not in it."""
    head, found, _ = said.partition(words)
    return head if found else ""


def _sentence(event: Mapping[str, Any]) -> str:
    said = next((event[key] for key in ("message", "reason") if isinstance(event.get(key), str) and event[key]), "")
    return scrub(" ".join(said.split()))[:MAX_SENTENCE_CHARS] or "it did not say why"


def _strings(value: Any) -> list[str]:
    return [item[:200] for item in value if isinstance(item, str)][:20] if isinstance(value, list) else []
