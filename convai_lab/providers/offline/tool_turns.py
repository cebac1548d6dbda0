"""Tool turns: what is still missing for a tool, when is it called, and what follows from its answer?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convai_lab.providers.offline import entities, phrases, retrieval, slots, telling
from convai_lab.providers.offline.acts import read_said
from convai_lab.providers.offline.found import Found
from convai_lab.providers.offline.memory import Exchange, PastCall
from convai_lab.providers.offline.scene import PlannedCall, Reply, Scene
from convai_lab.providers.offline.schemas import Parameter
from convai_lab.providers.offline.slots import Heard
from convai_lab.providers.offline.tool_choice import Tool, choose, deeds_in, wants_other_deed
from convai_lab.providers.offline.words import content_stems, likeness, sentences, words

MAX_PARALLEL = 4
_LASTING = frozenset(("code", "email", "phone", "name"))
"""Kinds of values that stay true for the rest of a conversation."""
_TELLING = frozenset(("code", "email", "phone"))
"""Kinds of values that say by themselves what they are."""
_ASKED_BY_WORD = {
    "when": ("arriv", "date", "time", "eta"),
    "where": ("status", "locat", "address"),
    "much": ("pric", "total", "cost"),
    "who": ("name",),
}


def asked_parameter(tool: Tool, agent_text: str) -> str:
    """Return the name of the parameter that the agent's words ask for, or nothing."""
    if not agent_text:
        return ""
    asking = sentences(agent_text)[-1]
    for parameter in tool.parameters:
        if phrases.ask_for(parameter) in agent_text or f"I need the {parameter.label}" in agent_text:
            return parameter.name
    if "?" not in asking and "please" not in asking.lower():
        return ""
    asked = set(content_stems(asking)) | set(words(asking))
    for parameter in tool.parameters:
        label = content_stems(parameter.label)
        if parameter.required and label and all(s in asked for s in label):
            return parameter.name
    return ""


def pending(scene: Scene) -> tuple[Tool, Parameter] | None:
    """Return the tool and the parameter that the agent asked for last, if it waits for one."""
    waiting = [(t, name) for t in scene.tools if (name := asked_parameter(t, scene.memory.last_agent))]
    if not waiting:
        return None
    tool, name = waiting[0]
    if len(waiting) > 1:
        tool, name = next(
            (w for w in waiting if w[0].name == _wanted_before(scene, [w[0] for w in waiting])), waiting[0]
        )
    return tool, next(p for p in tool.parameters if p.name == name)


def arguments_known(scene: Scene, tool: Tool) -> dict[str, Any]:
    """Return the arguments for a tool that the conversation holds so far."""
    memory = scene.memory
    same = next((c for c in reversed(memory.calls) if c.call.name == tool.name and c.answer is not None), None)
    last = memory.last_call
    recent = memory.since(last.after) if last else memory.exchanges
    found = slots.fill(tool.parameters, _heard(tool, recent), tool_stems=tool.stems)
    if "other" in scene.said:
        return found
    for parameter in tool.parameters:
        if parameter.name not in found and (value := _known_value(scene, tool, parameter, same)) is not None:
            found[parameter.name] = value
    return {p.name: found[p.name] for p in tool.parameters if p.name in found}


def start(scene: Scene, tool: Tool, *, confirmed: bool = False, again: bool = False) -> Reply:
    """Ask for what is missing, have it confirmed when the prompt says so, or call the tool."""
    arguments = arguments_known(scene, tool)
    lacking = slots.missing(tool.parameters, arguments)
    if lacking:
        return Reply(phrases.ask_for(lacking[0], again=again))
    if done := _done_already(scene, tool, arguments):
        return done
    if tool.deeds and scene.brief.confirms_first and not confirmed:
        return Reply(phrases.confirm(tool.capability, _details(tool, arguments)))
    return Reply(calls=tuple(PlannedCall(tool.name, each) for each in _one_or_more(scene, tool, arguments)))


def corrected(scene: Scene) -> Reply | None:
    """Call the last tool again when the caller corrects one of its arguments, or gives just another value."""
    last = scene.memory.last_call
    tool = scene.tool_named(last.call.name) if last else None
    if last is None or tool is None:
        return None
    short = len(scene.said.stems) <= 3
    if not (short or "correction" in scene.said) or wants_other_tool(scene, tool):
        return None
    new = slots.fill(tool.parameters, [Heard(scene.said.text)], tool_stems=tool.stems)
    changed = {k: v for k, v in new.items() if last.call.arguments.get(k) != v}
    if not changed or (tool.deeds and last.ended_well):
        return None
    if not any(p.kind in ("code", "email", "date", "time", "choice", "place", "integer", "number", "name", "phone")
               for p in tool.parameters if p.name in changed):  # fmt: skip
        return None
    return Reply(calls=(PlannedCall(tool.name, {**last.call.arguments, **changed}),))


def wants_other_tool(scene: Scene, tool: Tool) -> bool:
    """Say whether the words ask for another tool than this one."""
    choice = choose(scene.tools, scene.said)
    return choice is not None and choice.tool.name != tool.name


def retried(scene: Scene) -> Reply | None:
    """Call the last tool once more when it failed and the caller wants another try."""
    last = scene.memory.last_call
    if last is None or last.ended_well or scene.tool_named(last.call.name) is None:
        return None
    return Reply(calls=(PlannedCall(last.call.name, last.call.arguments),))


def meant_by_value(scene: Scene) -> Tool | None:
    """Return the only tool that a bare value can be meant for: ``it's A-77``."""
    if deeds_in(scene.said.text):
        return None
    fitting = [
        tool
        for tool in scene.tools
        if not tool.deeds
        and any(p.kind in _TELLING and p.required and _is_value_for(tool, p, scene) for p in tool.parameters)
    ]
    return fitting[0] if len(fitting) == 1 else None


def meant_by_pronoun(scene: Scene) -> Tool | None:
    """Return the tool that the conversation is about, when the caller asks about ``it``."""
    said = scene.said
    pointing = {"it", "that", "they", "this", "them", "there"} & set(words(said.text))
    if not said.is_question or len(said.stems) > 1 or not pointing or deeds_in(said.text):
        return None
    last = scene.memory.last_call
    name = last.call.name if last else _wanted_before(scene, list(scene.tools))
    tool = scene.tool_named(name)
    return tool if tool is not None and not tool.deeds else None


def from_last_result(scene: Scene) -> str | None:
    """Answer from the last result when the question is about one of its fields."""
    last = scene.memory.last_call
    if last is None or last.answer is None or not last.ended_well or "again" in scene.said:
        return None
    tool = scene.tool_named(last.call.name)
    if tool is not None and wants_other_deed(tool, deeds_in(scene.said.text)):
        return None
    return telling.told_field(last.call.arguments, last.answer.content, tool, asked_stems(scene))


def tell_results(scene: Scene) -> str:
    """Say what the tools answered, and what can be done next."""
    told = [(past, _told(scene, past)) for past in scene.memory.fresh_results]
    text = " ".join(t.text for _, t in told[:MAX_PARALLEL])
    past, last = told[-1]
    follow = _follow_up(scene, past, last.outcome)
    return f"{text} {follow}".strip()


def asked_stems(scene: Scene) -> list[str]:
    """Return the stems of what the caller wants to know, question words included."""
    extra = [s for w in words(scene.said.text)[:80] for s in _ASKED_BY_WORD.get(w, ())]
    return [*scene.said.stems, *extra]


def _told(scene: Scene, past: PastCall) -> telling.Told:
    answer = past.answer
    assert answer is not None
    tool = scene.tool_named(past.call.name)
    return telling.tell(tool, past.call.arguments, answer.content, is_error=answer.is_error, asked=asked_stems(scene))


def _follow_up(scene: Scene, past: PastCall, outcome: str) -> str:
    tool = scene.tool_named(past.call.name)
    if outcome == "fine":
        return _next_step(scene, past, tool) or _other_answer(scene, tool)
    if outcome in ("missing", "invalid") and tool is not None:
        given = [p for p in tool.parameters if p.required and p.name in past.call.arguments]
        return f"Could you check the {given[0].label} and tell me again, please?" if given else ""
    if outcome == "failed":
        return phrases.AGAIN_OR_ELSE
    return scene.pick(phrases.ANYTHING_ELSE)


def _next_step(scene: Scene, past: PastCall, tool: Tool | None) -> str:
    """Offer to take what was found to be free."""
    answer = past.answer
    if tool is None or answer is None or tool.deeds:
        return ""
    if telling.says_available(answer.content):
        for other in scene.tools:
            if "create" in other.deeds:
                return phrases.offer(other.capability)
    return ""


def _other_answer(scene: Scene, tool: Tool | None) -> str:
    """Answer a second question of the same message from the prompt."""
    for part in scene.said.parts[:6]:
        stems = set(content_stems(part))
        if tool is not None and stems & tool.stems:
            continue
        if "?" in part and (found := retrieval.answer_from(scene.memory.prompt, part, min_coverage=0.6)):
            return found.text
    return ""


def _heard(tool: Tool, exchanges: tuple[Exchange, ...]) -> list[Heard]:
    return [Heard(e.text, asked_parameter(tool, e.before)) for e in reversed(exchanges)]


def _known_value(scene: Scene, tool: Tool, parameter: Parameter, same: PastCall | None) -> Any | None:
    """Return a value that an earlier call or message gave, when it can still be meant."""
    for past in reversed(scene.memory.calls):
        newer = same is None or past.after > same.after
        if parameter.name in past.call.arguments and (parameter.kind in _LASTING or not tool.deeds or newer):
            return past.call.arguments[parameter.name]
    if parameter.kind not in _LASTING or not parameter.required:
        return None
    texts = [exchange.text for exchange in reversed(scene.memory.exchanges)]
    if parameter.kind == "code":
        return next((v for text in texts if (v := slots.labelled_code(parameter, text)) is not None), None)
    return slots.fill([parameter], [Heard(text) for text in texts]).get(parameter.name)


def _done_already(scene: Scene, tool: Tool, arguments: Mapping[str, Any]) -> Reply | None:
    """Do not repeat a call whose answer is known, unless the caller names the value or asks again."""
    last = scene.memory.last_call
    if last is None or last.call.name != tool.name or dict(last.call.arguments) != dict(arguments):
        return None
    if last.answer is None or not last.ended_well:
        return None
    if tool.deeds:
        return Reply(f"That is already done. {scene.pick(phrases.ANYTHING_ELSE)}")
    named = any(str(v).lower() in scene.said.text.lower() for v in arguments.values())
    if named or "again" in scene.said:
        return None
    return Reply(from_last_result(scene) or _told(scene, last).text)


def _one_or_more(scene: Scene, tool: Tool, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one set of arguments, or one for each of several codes that were named together."""
    codes = [p for p in tool.parameters if p.kind == "code"]
    if tool.deeds or len(codes) != 1 or "correction" in scene.said:
        return [arguments]
    values = slots.codes_for(codes[0], scene.said.text)
    if len(values) < 2 or any(not _is_like(str(v), str(values[0])) for v in values):
        return [arguments]
    return [{**arguments, codes[0].name: value} for value in values[:MAX_PARALLEL]]


def _is_like(one: str, other: str) -> bool:
    return one.isdigit() == other.isdigit() and abs(len(one) - len(other)) <= 1


def _details(tool: Tool, arguments: Mapping[str, Any]) -> str:
    shown = [f"{p.label} {arguments[p.name]}" for p in tool.parameters if p.name in arguments and p.kind != "sentence"]
    return ", ".join(shown[:5])


def _wanted_before(scene: Scene, tools: list[Tool]) -> str:
    """Return the name of the tool that the caller's earlier words asked for."""
    for exchange in reversed(scene.memory.exchanges[-6:-1]):
        choice = choose(tools, read_said(exchange.text))
        if choice is not None:
            return choice.tool.name
    return ""


def _is_value_for(tool: Tool, parameter: Parameter, scene: Scene) -> bool:
    """Say whether the words hold a value for the parameter and, as far as they can be read, nothing else."""
    text = scene.said.text
    if scene.said.foreign:
        return parameter.kind == "code" and bool(slots.codes_for(parameter, text))
    found = {"email": entities.emails_in, "phone": entities.phones_in}.get(parameter.kind, entities.codes_in)(text)
    rest = " ".join(text[a:b] for a, b in _around(text, found))
    known = tool.stems | {"number", "id", "code", "referenc"}
    nothing_else = all(likeness(s, known) for s in content_stems(rest))
    return bool(found) and nothing_else and slots.find_value(parameter, text, is_asked=True) is not None


def _around(text: str, found: Sequence[Found]) -> list[tuple[int, int]]:
    ends = [0, *(f.end for f in found)]
    return list(zip(ends, [*(f.start for f in found), len(text)], strict=True))
