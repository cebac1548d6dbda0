"""Base: what must a language model, a recogniser, a voice and a voice activity detector offer?

Adapters implement these protocols and nothing more. All audio is 16-bit little-endian mono PCM at a named rate;
positions in audio are samples, positions in text are Unicode code points.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from convai_lab.conversations.turn import ToolCall

MessageRole = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "tool_calls", "length", "content_filter", "other"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatMessage:
    """One message to a model. `tool_call_id` and `name` belong to role ``tool``: the result of that call."""

    role: MessageRole
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    is_error: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolSpec:
    """A tool as the model sees it; `parameters` is a JSON schema of type object."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatRequest:
    """All that is sent to a model for one answer. None means: leave it to the vendor."""

    messages: Sequence[ChatMessage]
    tools: Sequence[ToolSpec] = ()
    temperature: float | None = None
    max_tokens: int | None = None
    reasoning_effort: str | None = None
    thinking_budget: int | None = None
    seed: int | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)


class TextDelta(NamedTuple):
    """A piece of the answer's text."""

    text: str


class Usage(NamedTuple):
    """Tokens of one request; None means the vendor did not say. `input` includes the cached ones."""

    input: int | None = None
    output: int | None = None
    cached_input: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None


class Done(NamedTuple):
    """The answer is complete: why it ended, which model served it, what it used."""

    finish_reason: FinishReason
    model_served: str
    usage: Usage


LLMEvent = TextDelta | ToolCall | Done
"""What `LLM.stream` yields: text pieces and whole tool calls in order, then exactly one `Done`."""


@runtime_checkable
class LLM(Protocol):
    """A language model that streams its answer.

    `provider` is the registry name, `model` the name sent to the vendor, `is_offline` true for the deterministic
    stand-in, which must be shown as what it is wherever it speaks.
    """

    provider: str
    model: str
    is_offline: bool

    def stream(self, request: ChatRequest) -> AsyncIterator[LLMEvent]:
        """Stream the answer: text and tool calls, then one `Done`.

        Raises:
            ProviderError: One of its subclasses, for everything that can go wrong with a vendor.
        """


class Partial(NamedTuple):
    """What the recogniser believes so far; the first `stable_chars` will not change."""

    text: str
    stable_chars: int
    at_sample: int


class WordTime(NamedTuple):
    """One recognised word with its start and end sample."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Final:
    """What the recogniser heard; `confidence` is from 0 to 1, or None when the engine has none."""

    text: str
    confidence: float | None = None
    words: tuple[WordTime, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ASRCapabilities:
    """What a recogniser declares about itself."""

    streaming: bool
    partials: bool
    word_times: bool
    languages: tuple[str, ...]
    biasing: Literal["none", "phrases", "grammar", "lm"] = "none"
    needs_network: bool = False


class ASRStream(Protocol):
    """One utterance, or a piece of one up to a pause, being recognised.

    One that has no partials although its recogniser has them says so: its attribute `has_guesses` is false.
    """

    def feed(self, pcm: bytes) -> None:
        """Take some audio, any number of bytes; never blocks."""

    def partial(self) -> Partial | None:
        """Return the newest belief, or None when there is none yet; cheap."""

    async def finish(self) -> Final:
        """Return the final result for all that was fed.

        Raises:
            ProviderError: The engine failed.
        """

    def abort(self) -> None:
        """Give up; harmless when repeated or after `finish`."""


class ASR(Protocol):
    """Speech in: a recogniser."""

    name: str
    capabilities: ASRCapabilities

    def open(self, *, rate_hz: int, language: str, phrases: Sequence[str] = ()) -> ASRStream:
        """Start an utterance; `phrases` are words and sentences to expect."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TTSCapabilities:
    """What a voice engine declares about itself."""

    rate_hz: int
    alignment: Literal["none", "word", "char"]
    voices: tuple[str, ...]
    languages: tuple[str, ...]
    needs_network: bool = False


class AudioChunk(NamedTuple):
    """A piece of speech; `start_sample` counts from the start of the utterance."""

    pcm: bytes
    start_sample: int


class Mark(NamedTuple):
    """Where in the audio a piece of the text begins."""

    char_start: int
    char_len: int
    sample: int


class TTS(Protocol):
    """Speech out: a voice engine."""

    name: str
    capabilities: TTSCapabilities

    def synthesize(self, text: str, *, voice: str, speed: float = 1.0) -> AsyncIterator[AudioChunk | Mark]:
        """Yield audio and marks in order; closing the iterator cancels within one chunk.

        Raises:
            ProviderError: The engine failed, or does not know the voice.
        """


class VAD(Protocol):
    """Voice activity: is somebody speaking? Takes frames of exactly `hop` samples."""

    name: str
    rate_hz: int
    hop: int

    def probability(self, frame: bytes) -> float:
        """Return how likely the frame is speech, from 0 to 1."""

    def reset(self) -> None:
        """Forget what was heard."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeechEngines:
    """The three engines of one voice session."""

    asr: ASR
    tts: TTS
    vad: VAD
