"""Dialogue script: hold a conversation with a language model, and say line by line what must come back.

The tools are functions of this process; what they raise goes back to the model as an error result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from convai_lab.conversations.turn import ToolCall
from convai_lab.providers.base import LLM, ChatMessage, ChatRequest, TextDelta, ToolSpec

MAX_ROUNDS = 5

Answer = Callable[[str, Mapping[str, Any]], Any]
"""What a tool answers: its name and arguments in, the result out."""


class Spoken(NamedTuple):
    """What came back for one line: all that was said, and every tool call."""

    text: str
    calls: tuple[ToolCall, ...]


class Line(NamedTuple):
    """One line of the caller, and what must be true of what comes back."""

    said: str
    expected: tuple[Expectation, ...]


@dataclass(frozen=True)
class Expectation:
    """Something that must be in an answer, or must not: words, or a call."""

    words: str = ""
    forbidden: str = ""
    tool: str = ""
    arguments: Mapping[str, Any] | None = None
    no_calls: bool = False

    def failure(self, spoken: Spoken) -> str:
        """Say what is wrong with an answer; nothing when it is right."""
        text = spoken.text.lower()
        made = [(c.name, dict(c.arguments)) for c in spoken.calls]
        if self.words and not any(option.strip().lower() in text for option in self.words.split("|")):
            return f"not said: {self.words}"
        if self.forbidden and any(option.strip().lower() in text for option in self.forbidden.split("|")):
            return f"said: {self.forbidden}"
        if self.no_calls and made:
            return f"called {made}"
        if not self.tool:
            return ""
        wanted = self.arguments
        fits = [a for name, a in made if name == self.tool and (wanted is None or wanted.items() <= a.items())]
        return "" if fits else f"no call of {self.tool} with {dict(wanted or {})}, but {made}"


def line(said: str, *expected: Expectation) -> Line:
    """Return a line of the caller with what is expected of the answer."""
    return Line(said, expected)


def says(words: str) -> Expectation:
    """Expect words, in any case; alternatives are separated by ``|``."""
    return Expectation(words=words)


def never_says(words: str) -> Expectation:
    """Expect words to be absent; alternatives are separated by ``|``."""
    return Expectation(forbidden=words)


def calls(tool: str, **arguments: Any) -> Expectation:
    """Expect a call with at least these arguments."""
    return Expectation(tool=tool, arguments=arguments)


CALLS_NOTHING = Expectation(no_calls=True)
"""Expect that no tool is called."""


class Talk:
    """A conversation with a model; `messages` is what has been said so far."""

    def __init__(
        self,
        llm: LLM,
        prompt: str,
        *,
        tools: Sequence[ToolSpec] = (),
        answer: Answer | None = None,
        first_message: str = "",
    ) -> None:
        self.messages = [ChatMessage(role="system", content=prompt)] if prompt else []
        if first_message:
            self.messages.append(ChatMessage(role="assistant", content=first_message))
        self._llm, self._tools, self._answer = llm, tuple(tools), answer

    async def say(self, text: str) -> Spoken:
        """Say something and run the tools that are called, until the answer is complete."""
        self.messages.append(ChatMessage(role="user", content=text))
        texts: list[str] = []
        made: list[ToolCall] = []
        for _ in range(MAX_ROUNDS):
            said, asked = await self._once()
            texts, made = [*texts, said], [*made, *asked]
            if not asked:
                break
            self.messages.extend(self._result(call) for call in asked)
        return Spoken(" ".join(filter(None, texts)), tuple(made))

    async def _once(self) -> tuple[str, list[ToolCall]]:
        request = ChatRequest(messages=tuple(self.messages), tools=self._tools)
        events = [event async for event in self._llm.stream(request)]
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        asked = [event for event in events if isinstance(event, ToolCall)]
        self.messages.append(ChatMessage(role="assistant", content=text, tool_calls=tuple(asked)))
        return text, asked

    def _result(self, call: ToolCall) -> ChatMessage:
        try:
            value = self._answer(call.name, call.arguments) if self._answer else "ok"
        except (ValueError, LookupError) as error:
            return ChatMessage(role="tool", content=str(error), tool_call_id=call.id, name=call.name, is_error=True)
        text = value if isinstance(value, str) else json.dumps(value)
        return ChatMessage(role="tool", content=text, tool_call_id=call.id, name=call.name)


async def hold(talk: Talk, lines: Sequence[Line]) -> str:
    """Hold a conversation; return its transcript with the first thing that is wrong, or nothing when all is right."""
    transcript: list[str] = []
    for each in lines:
        spoken = await talk.say(each.said)
        made = [f"{c.name}({dict(c.arguments)})" for c in spoken.calls]
        transcript += [f"caller: {each.said}", f"agent:  {' '.join(made)} {spoken.text}"]
        for expectation in each.expected:
            if failure := expectation.failure(spoken):
                return "\n".join(["", *transcript, f"  !!! {failure}"])
    return ""
