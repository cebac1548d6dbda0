"""Scene: everything that is known when the agent has to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from convai_lab.providers.base import ChatRequest, ToolSpec
from convai_lab.providers.offline import phrases
from convai_lab.providers.offline.acts import Said, read_said
from convai_lab.providers.offline.brief import Brief
from convai_lab.providers.offline.memory import Memory, remember
from convai_lab.providers.offline.retrieval import brief_for
from convai_lab.providers.offline.tool_choice import Tool, tools_of
from convai_lab.providers.offline.words import content_stems


class PlannedCall(NamedTuple):
    """A tool call to make."""

    name: str
    arguments: Mapping[str, Any]


class Reply(NamedTuple):
    """What the agent says, and the tools it calls."""

    text: str = ""
    calls: tuple[PlannedCall, ...] = ()


@dataclass(frozen=True)
class Scene:
    """What the prompt says, what was said and done, what the caller says now, and the tools there are."""

    memory: Memory
    said: Said
    tools: Sequence[Tool]
    specs: Sequence[ToolSpec] = field(default=())

    @cached_property
    def brief(self) -> Brief:
        """What the system prompt says."""
        return brief_for(self.memory.prompt)

    def tool_named(self, name: str) -> Tool | None:
        """Return the tool of that name, if the request still offers it."""
        return next((tool for tool in self.tools if tool.name == name), None)

    def pick(self, options: Sequence[str]) -> str:
        """Return the option that was said least often so far."""
        return phrases.pick(options, self.memory.agent_texts)


def scene_of(request: ChatRequest) -> Scene:
    """Read a request."""
    memory = remember(request)
    said = read_said(memory.newest)
    scene = Scene(memory, said, tools_of(request.tools), tuple(request.tools))
    own_name = set(content_stems(scene.brief.name))
    if own_name & set(said.stems):  # being called by name is no topic
        return replace(scene, said=replace(said, stems=tuple(s for s in said.stems if s not in own_name)))
    return scene
