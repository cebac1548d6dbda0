"""Answering: what does the agent say or do next?

The rules are tried in order, and the first that has something to say wins. They are written as one list so that
the order, which is what matters, can be read.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from convai_lab.providers.base import ChatRequest
from convai_lab.providers.offline import entities, manners, phrases, retrieval, slots, system_tools, tool_turns
from convai_lab.providers.offline.scene import Reply, Scene, scene_of
from convai_lab.providers.offline.slots import Heard
from convai_lab.providers.offline.tool_choice import SYSTEM_TOOLS, Choice, choose, deeds_in
from convai_lab.providers.offline.words import words

SURE_COVERAGE = 0.74
"""A passage that covers this much of a question answers it even when a tool would fit, too."""


def answer(request: ChatRequest) -> Reply:
    """Return the answer to a request; the same request always has the same answer."""
    scene = scene_of(request)
    if scene.memory.last_role != "user":
        return _without_the_caller(scene)
    for rule in _RULES:
        reply = rule(scene)
        if reply is not None:
            return manners.with_empathy(scene, reply)
    return Reply(manners.repair(scene))


def _without_the_caller(scene: Scene) -> Reply:
    """Open, report a result, or ask whether the caller is still there."""
    if scene.memory.last_role == "tool":
        return _after_tools(scene)
    if not scene.memory.agent_texts and not scene.memory.n_user:
        return Reply(manners.hello(scene))
    return Reply(scene.pick(phrases.STILL_THERE))


def _after_tools(scene: Scene) -> Reply:
    fresh = scene.memory.fresh_results
    ordinary = [past for past in fresh if past.call.name not in SYSTEM_TOOLS]
    if ordinary:
        return manners.with_empathy(scene, Reply(tool_turns.tell_results(scene)))
    if any(past.call.name in system_tools.TRANSFERS and not past.ended_well for past in fresh):
        return Reply(f"{phrases.TRANSFER_FAILED} {scene.pick(phrases.ANYTHING_ELSE)}")
    switched = [past.call.arguments.get("language") for past in fresh if past.call.name == "language_detection"]
    if switched:
        return Reply(phrases.IN_ENGLISH if switched[-1] == "en" else phrases.ONLY_ENGLISH)
    return Reply() if fresh else Reply(manners.repair(scene))


def _yes_or_no(scene: Scene) -> Reply | None:
    """Take up the answer to something that the agent has offered."""
    last, said = scene.memory.last_agent, scene.said
    if not ("yes" in said or "no" in said) or "?" not in last:
        return None
    yes = "yes" in said and "no" not in said
    if phrases.GO_AHEAD in last or "Would you like me to " in last:
        return _to_offer(scene, yes=yes)
    if phrases.AGAIN_OR_ELSE in last and yes and not said.stems:
        return tool_turns.retried(scene)
    if phrases.PUT_THROUGH in last and not yes and not said.stems:
        return Reply(f"All right. {scene.pick(phrases.ANYTHING_ELSE)}")
    if any(phrase in last for phrase in phrases.ANYTHING_ELSE) and not said.stems:
        return Reply("Of course. What can I do for you?") if yes else manners.close(scene)
    return None


def _to_offer(scene: Scene, *, yes: bool) -> Reply | None:
    last, said = scene.memory.last_agent, scene.said
    for tool in scene.tools:
        if f"I will {tool.capability}" in last or phrases.offer(tool.capability) in last:
            new = slots.fill(tool.parameters, [Heard(said.text)], tool_stems=tool.stems)
            if yes or new:
                return tool_turns.start(scene, tool, confirmed=yes and phrases.GO_AHEAD in last)
            return Reply(f"{scene.pick(phrases.NOT_DONE)} {scene.pick(phrases.ANYTHING_ELSE)}")
    return None


def _asked_value(scene: Scene) -> Reply | None:
    """Take up the answer to a question for a missing argument."""
    waiting = tool_turns.pending(scene)
    if waiting is None:
        return None
    tool, parameter = waiting
    said = scene.said
    own = frozenset(tool.stems)
    value = slots.find_value(parameter, said.text, is_asked=True, siblings=tool.parameters, own=own)
    if value is not None and not _is_something_else(scene, parameter.kind):
        return tool_turns.start(scene, tool)
    if "unsure" in said:
        hint = retrieval.answer_from(scene.memory.prompt, f"{parameter.label} find where", min_coverage=0.4)
        return Reply(
            hint.text
            if hint
            else f"No problem, but I need the {parameter.label} to {tool.capability}. {manners.handover(scene)}"
        )
    if "no" in said and not said.stems:
        return Reply(f"{scene.pick(phrases.NOT_DONE)} {scene.pick(phrases.ANYTHING_ELSE)}")
    if said.is_only_social or said.is_question or "goodbye" in said or deeds_in(said.text):
        return None
    if tool_turns.wants_other_tool(scene, tool):
        return None
    if slots.fill(tool.parameters, [Heard(said.text)], tool_stems=own):
        return tool_turns.start(scene, tool)
    return None if said.foreign else tool_turns.start(scene, tool, again=True)


def _is_something_else(scene: Scene, kind: str) -> bool:
    """Say whether an answer that would fit anything is in truth another request."""
    said = scene.said
    if kind not in ("words", "sentence", "name", "place", "list"):
        return False
    if said.is_only_social and ("thanks" in said or "goodbye" in said or "greeting" in said):
        return True
    return "unsure" in said or ("no" in said and not said.stems) or (said.is_question and "?" in said.text)


def _correction(scene: Scene) -> Reply | None:
    return tool_turns.corrected(scene)


def _try_again(scene: Scene) -> Reply | None:
    wants = "again" in scene.said and len(scene.said.stems) <= 2
    return tool_turns.retried(scene) if wants else None


def _tools(scene: Scene) -> Reply | None:
    """Call the tool that the words ask for, unless the prompt itself answers a general question."""
    if scene.said.foreign and not entities.codes_in(scene.said.text):
        return None
    choice = choose(scene.tools, scene.said)
    if choice is None:
        tool = tool_turns.meant_by_value(scene)
        return tool_turns.start(scene, tool) if tool else None
    return None if _is_general(scene, choice) else tool_turns.start(scene, choice.tool)


def _about_it(scene: Scene) -> Reply | None:
    tool = tool_turns.meant_by_pronoun(scene)
    return tool_turns.start(scene, tool) if tool else None


def _is_general(scene: Scene, choice: Choice) -> bool:
    """Say whether the question is about how things are, not about the caller's own case."""
    said = scene.said
    own = {"my", "mine", "our"} & set(words(said.text)) or entities.codes_in(said.text)
    wants = said.is_request and choice.tool.deeds and not _INFORMATION.search(said.text)
    if own or wants or not said.is_question:
        return False
    needed = SURE_COVERAGE if not choice.tool.deeds else retrieval.MIN_COVERAGE
    return retrieval.answer_from(scene.memory.prompt, said.text, min_coverage=needed) is not None


def _known_result(scene: Scene) -> Reply | None:
    if not scene.said.is_question:
        return None
    text = tool_turns.from_last_result(scene)
    return Reply(text) if text else None


def _knowledge(scene: Scene) -> Reply | None:
    """Answer from the prompt, question by question, in at most two sentences."""
    said = scene.said
    if not said.stems or not (said.is_question or said.is_request or len(said.stems) <= 6):
        return None
    found: list[str] = []
    clauses = [clause for part in said.parts for clause in _AND_ASKS.split(part)]
    for part in dict.fromkeys([said.text, *clauses][:10]):
        told = retrieval.answer_from(scene.memory.prompt, part)
        if told and told.text not in found:
            found.append(told.text)
        if found and part == said.text:
            break
    if not found:
        return None
    waiting = tool_turns.pending(scene)
    back = f" And {_lowered(phrases.ask_for(waiting[1]))}" if waiting else ""
    return Reply(" ".join(found[:2]) + back)


def _goal(scene: Scene) -> Reply | None:
    """Ask for the next thing that the goal needs and no tool will ask for."""
    asks = [a for a in scene.brief.asks if not any(tool.asks_for(a) for tool in scene.tools)]
    open_asks = [a for a in asks if not any(a in text for text in scene.memory.agent_texts)]
    answered = any(a in scene.memory.last_agent for a in asks)
    if not asks or scene.said.foreign or (scene.said.is_question and not scene.said.is_request):
        return None
    if open_asks:
        return Reply(phrases.ask_goal(open_asks[0], first=not answered))
    return Reply(f"{phrases.NOTED} {scene.pick(phrases.ANYTHING_ELSE)}") if answered else None


def _lowered(text: str) -> str:
    return text if text.startswith("I ") else text[0].lower() + text[1:]


_AND_ASKS = re.compile(r",?\s+and\s+(?=(?:is|are|do|does|can|could|what|when|where|how|who|which)\b)", re.I)
_INFORMATION = re.compile(
    r"^\W*(?:(?:and|so|but|hi|hello|please|ok)\W+)*(?:until when|how (?:long|much|many|do|does|can)|what|when|which|"
    r"where|why|"
    r"is there|are there|do you|does)\b",
    re.I,
)
_RULES: tuple[Callable[[Scene], Reply | None], ...] = (
    manners.on_silence,
    manners.on_orders,
    manners.on_machine,
    manners.on_wait,
    manners.on_person,
    manners.on_language,
    manners.on_itself,
    manners.on_repeat,
    _yes_or_no,
    _asked_value,
    _correction,
    manners.on_goodbye,
    _try_again,
    _tools,
    _known_result,
    _knowledge,
    _about_it,
    manners.on_other_desk,
    manners.on_social,
    manners.on_forbidden,
    _goal,
    manners.on_impossible,
    manners.on_upset,
)
