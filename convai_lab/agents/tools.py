"""Tools: what may the agent do besides talking, and which Python function does it?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

DEFAULT_TIMEOUT_SECS = 20.0

SystemToolName = Literal[
    "end_call",
    "transfer_to_number",
    "transfer_to_agent",
    "skip_turn",
    "language_detection",
    "play_keypad_touch_tone",
    "voicemail_detection",
]


@dataclass(frozen=True, kw_only=True)
class ClientTool:
    """A tool that runs where the conversation was started: in this kernel, a browser, an app.

    `parameters` is a JSON schema of type object. `function` is the Python function behind it, when this process
    has one; it is no part of what the tool is, so two tools that differ in it alone are equal.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    response_timeout_secs: float = DEFAULT_TIMEOUT_SECS
    expects_response: bool = True
    function: Callable[..., Any] | None = field(default=None, compare=False, repr=False)
    id: str | None = field(default=None, compare=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class WebhookTool:
    """A tool that the platform calls over HTTP.

    `url` may hold ``{placeholders}`` described by `path_schema`. The schemas are JSON schemas; the model fills
    what they describe. `headers` are sent as they stand (a value may be ``{"secret_id": ...}`` on the cloud).
    """

    name: str
    url: str
    description: str = ""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path_schema: Mapping[str, Any] = field(default_factory=dict)
    query_schema: Mapping[str, Any] = field(default_factory=dict)
    body_schema: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)
    content_type: str = "application/json"
    response_timeout_secs: float = DEFAULT_TIMEOUT_SECS
    id: str | None = field(default=None, compare=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class SystemTool:
    """A tool built into the platform; `params` are its own settings (for a transfer: where to)."""

    name: str
    description: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = field(default=None, compare=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


Tool = ClientTool | WebhookTool | SystemTool
