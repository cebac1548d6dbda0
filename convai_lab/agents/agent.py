"""Agent: what should be said, by whom, with which model, voice and tools?"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, NamedTuple

from convai_lab.agents.platform_value import PlatformValue
from convai_lab.agents.tools import Tool
from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.agents.voices import DEFAULT_VOICE

DEFAULT_TTS_MODEL = "eleven_flash_v2"
DEFAULT_MAX_DURATION_SECS = 600
DEFAULT_CLIENT_EVENTS = (
    "conversation_initiation_metadata",
    "ping",
    "audio",
    "interruption",
    "user_transcript",
    "tentative_user_transcript",
    "agent_response",
    "agent_response_correction",
    "agent_chat_response_part",
    "client_tool_call",
    "agent_tool_request",
    "agent_tool_response",
    "agent_tool_response_full_payload",
    "vad_score",
)
"""What the notebook needs to hear from a platform to show a conversation as it happens."""

DEFAULT_ALLOWED_OVERRIDES = ("conversation.text_only",)
REPR_CHARS = 60

_CHECKED: ContextVar[frozenset[str] | None] = ContextVar("_CHECKED", default=None)


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """A text the agent may draw on; `usage` ``prompt`` always puts it before the model, ``auto`` when it fits."""

    name: str
    text: str = ""
    id: str = ""
    kind: str = "text"
    usage: str = "auto"
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationCriterion(PlatformValue):
    """A goal that a finished conversation is judged by: success, failure or unknown. The name defaults to the id."""

    id: str
    goal: str
    name: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    _section: ClassVar[str] = "criterion"

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.id)


@dataclass(frozen=True, kw_only=True, eq=False)
class DataItem(PlatformValue):
    """A value to collect from a finished conversation."""

    type: str = "string"
    description: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    _section: ClassVar[str] = "data_item"


@dataclass(frozen=True, kw_only=True, eq=False)
class CustomLLM(PlatformValue):
    """An OpenAI-compatible model at a URL of your own; `api_key_variable` names the variable that holds its key."""

    url: str
    model: str = ""
    api_key_variable: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    _section: ClassVar[str] = "custom_llm"


class Change(NamedTuple):
    """One field that differs between two agents."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Agent(PlatformValue):
    """An agent as a value: compare it, change it into a new one, keep it; nothing happens until it is created.

    `llm` of None means the platform's default (``offline`` locally). `version`, `id` and the instants say where it
    was stored; they are not part of what the agent is, so they count neither in `==` nor in `diff`. Agents may be
    keys of a dict or members of a set: equal agents have the same name, and the name is what is hashed.

    Tools may be given as `@tool` functions, plain typed functions, or names of system tools (``"end_call"``).

    Raises:
        InvalidConfigError: A value is out of range or of the wrong type; it names the fields.

    Example:
        >>> sam = Agent(name="Support", prompt="You are Sam.", llm="offline")
        >>> sam.with_changes(temperature=0.9).diff(sam)
        [Change(field='temperature', before=0.0, after=0.9)]
        >>> Agent(speed=5)
        Traceback (most recent call last):
        ...
        convai_lab.errors.InvalidConfigError: speed: must be from 0.7 to 1.2, got 5
    """

    name: str = "Agent"
    prompt: str = ""
    first_message: str = ""
    language: str = "en"
    llm: str | None = None
    temperature: float = 0.0
    max_tokens: int | None = None
    reasoning_effort: str | None = None
    thinking_budget: int | None = None
    custom_llm: CustomLLM | None = None
    voice: str = DEFAULT_VOICE
    tts_model: str = DEFAULT_TTS_MODEL
    stability: float = 0.5
    similarity_boost: float = 0.8
    speed: float = 1.0
    asr: str | None = None
    """What hears on the local platform, such as ``openai/whisper-1``: see `convai voices list`; None is embedded."""
    tts: str | None = None
    """What speaks there, such as ``elevenlabs`` or ``piper``; None is embedded."""
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
    client_events: tuple[str, ...] | None = DEFAULT_CLIENT_EVENTS
    """Events a platform sends to its clients; None leaves that to the platform."""
    allowed_overrides: tuple[str, ...] = DEFAULT_ALLOWED_OVERRIDES
    """What a client may change when it starts a conversation, such as ``agent.prompt.prompt``."""
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

    _section: ClassVar[str] = ""
    _absent: ClassVar[frozenset[str]] = frozenset()
    """Fields that the platform's JSON left out, so that they are not written unless they change."""

    def __post_init__(self) -> None:
        from convai_lab.agents.canonical import canonical_value

        for f in fields(self):
            object.__setattr__(self, f.name, canonical_value(f.name, getattr(self, f.name)))
        if (only := _CHECKED.get()) is None or only:
            self.check(only)

    def with_changes(self, **changes: Any) -> Agent:
        """Return a new agent with some fields changed; only those are checked.

        Raises:
            InvalidConfigError: There is no such field, or a new value is wrong.
        """
        from convai_lab.agents.canonical import unknown_field

        known = {f.name for f in fields(self)}
        if unknown := next((name for name in changes if name not in known), None):
            raise unknown_field(unknown, known)
        with checking_only(frozenset(changes)):
            changed = replace(self, **changes)
        return with_absent_fields(changed, self._absent)

    @functools.cached_property
    def prompt_hash(self) -> str:
        """12 hex digits that change when what the model sees changes: prompt, tools, knowledge, first message."""
        from convai_lab.agents.prompt import prompt_hash

        return prompt_hash(self)

    def diff(self, before: Agent) -> list[Change]:
        """List the fields that changed from `before` to this agent, in the order of the fields."""
        return [
            Change(f.name, getattr(before, f.name), getattr(self, f.name))
            for f in fields(self)
            if f.compare and before.bare(f.name) != self.bare(f.name)
        ]

    def check(self, only: frozenset[str] | None = None) -> None:
        """Raise an error that names every field with a wrong value; `only` limits it to some fields.

        Raises:
            InvalidConfigError: Some value is wrong.
        """
        from convai_lab.agents.agent_check import check_agent

        check_agent(self, only)

    def __repr__(self) -> str:
        shown = [f"{name}={_short(getattr(self, name))}" for name in _changed_fields(self)]
        return f"Agent({', '.join(shown)})"

    def _repr_html_(self) -> str:
        """Show the agent as a card in a notebook (an IPython hook)."""
        from convai_lab.agents.card import agent_card_html

        return agent_card_html(self)


@contextlib.contextmanager
def checking_only(names: frozenset[str]) -> Iterator[None]:
    """Let agents made in the body check only some of their fields: what a platform stored is taken as it is."""
    token = _CHECKED.set(names)
    try:
        yield
    finally:
        _CHECKED.reset(token)


def with_absent_fields(agent: Agent, names: frozenset[str]) -> Agent:
    """Note on a new agent which fields the platform's JSON left out; returns that agent."""
    object.__setattr__(agent, "_absent", names)
    return agent


def _changed_fields(agent: Agent) -> list[str]:
    plain = _plain_agent()
    always = ("name",)
    return [f.name for f in fields(agent) if f.repr and (f.name in always or getattr(agent, f.name) != plain[f.name])]


def _plain_agent() -> dict[str, Any]:
    with checking_only(frozenset()):
        return vars(Agent())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= REPR_CHARS else f"{text[: REPR_CHARS - 1]}…"
