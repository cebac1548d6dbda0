"""Agent: what should be said, by whom, with which model, voice and tools?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from convai_lab.agents.tools import Tool
from convai_lab.agents.turn_taking import TurnTaking

DEFAULT_VOICE = "Eric"
DEFAULT_TTS_MODEL = "eleven_flash_v2"
DEFAULT_MAX_DURATION_SECS = 600


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """A text the agent may draw on; `usage` ``prompt`` always puts it before the model, ``auto`` when it fits."""

    name: str
    text: str = ""
    id: str = ""
    kind: str = "text"
    usage: str = "auto"


@dataclass(frozen=True, kw_only=True)
class EvaluationCriterion:
    """A goal that a finished conversation is judged by: success, failure or unknown."""

    id: str
    goal: str
    name: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class DataItem:
    """A value to collect from a finished conversation."""

    type: str = "string"
    description: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class CustomLLM:
    """An OpenAI-compatible model at a URL of your own; `api_key_variable` names the variable that holds its key."""

    url: str
    model: str = ""
    api_key_variable: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Change(NamedTuple):
    """One field that differs between two agents."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True)
class Agent:
    """An agent as a value: compare it, change it into a new one, keep it; nothing happens until it is created.

    `llm` of None means the platform's default (``offline`` locally). `version`, `id` and the instants say where it
    was stored; they are not part of what the agent is, so they count neither in `==` nor in `diff`.

    Example:
        >>> sam = Agent(name="Support", prompt="You are Sam.", llm="offline")
        >>> sam.with_changes(temperature=0.9).diff(sam)
        [Change(field='temperature', before=0.0, after=0.9)]
    """

    name: str = "Agent"
    prompt: str = ""
    first_message: str = ""
    language: str = "en"
    llm: str | None = None
    temperature: float = 0.0
    max_tokens: int | None = None
    reasoning_effort: str | None = None
    custom_llm: CustomLLM | None = None
    voice: str = DEFAULT_VOICE
    tts_model: str = DEFAULT_TTS_MODEL
    stability: float = 0.5
    similarity_boost: float = 0.8
    speed: float = 1.0
    asr_keywords: tuple[str, ...] = ()
    expected_phrases: tuple[str, ...] = ()
    input_audio_format: str = "pcm_16000"
    output_audio_format: str = "pcm_16000"
    turn: TurnTaking = field(default_factory=TurnTaking)
    text_only: bool = False
    max_duration_secs: int = DEFAULT_MAX_DURATION_SECS
    timezone: str | None = None
    tools: tuple[Tool, ...] = ()
    tool_ids: tuple[str, ...] = ()
    knowledge: tuple[Knowledge, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    criteria: tuple[EvaluationCriterion, ...] = ()
    data_collection: Mapping[str, DataItem] = field(default_factory=dict)
    client_events: tuple[str, ...] | None = None
    enable_auth: bool = False
    allowed_origins: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The rest of the platform's JSON, kept so that pulling and pushing lose nothing."""

    id: str | None = field(default=None, compare=False)
    version: int | None = field(default=None, compare=False)
    version_id: str | None = field(default=None, compare=False)
    created_at: float | None = field(default=None, compare=False)
    updated_at: float | None = field(default=None, compare=False)

    def with_changes(self, **changes: Any) -> Agent:
        """Return a new agent with some fields changed."""
        return replace(self, **changes)

    def diff(self, before: Agent) -> list[Change]:
        """List the fields that changed from `before` to this agent, in the order of the fields."""
        return [
            Change(f.name, old, new)
            for f in fields(self)
            if f.compare and (old := getattr(before, f.name)) != (new := getattr(self, f.name))
        ]
