"""Answering: what does the agent say or do next?

The rules are tried in order, and the first that has something to say wins. They are written as one list so that
the order, which is what matters, can be read.
"""

from __future__ import annotations

from collections.abc import Callable

from convai_lab.providers.base import ChatRequest
from convai_lab.providers.offline import entities, phrases, retrieval, slots, system_tools, tool_turns
from convai_lab.providers.offline.acts import read_said
from convai_lab.providers.offline.scene import PlannedCall, Reply, Scene, scene_of
from convai_lab.providers.offline.slots import Heard
from convai_lab.providers.offline.tool_choice import SYSTEM_TOOLS, Choice, choose, deeds_in
from convai_lab.providers.offline.words import content_stems, words

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
            return _with_empathy(scene, reply)
    return Reply(_repair(scene))


def _without_the_caller(scene: Scene) -> Reply:
    """Open, report a result, or ask whether the caller is still there."""
    if scene.memory.last_role == "tool":
        return _after_tools(scene)
    if not scene.memory.agent_texts and not scene.memory.n_user:
        return Reply(_hello(scene))
    return Reply(scene.pick(phrases.STILL_THERE))


def _after_tools(scene: Scene) -> Reply:
    fresh = scene.memory.fresh_results
    ordinary = [past for past in fresh if past.call.name not in SYSTEM_TOOLS]
    if ordinary:
        return _with_empathy(scene, Reply(tool_turns.tell_results(scene)))
    if any(past.call.name in system_tools.TRANSFERS and not past.ended_well for past in fresh):
        return Reply(f"{phrases.TRANSFER_FAILED} {scene.pick(phrases.ANYTHING_ELSE)}")
    return Reply() if fresh else Reply(_repair(scene))


def _silence(scene: Scene) -> Reply | None:
    if any(c.isalnum() for c in scene.memory.newest):
        return None
    return Reply(scene.pick(phrases.STILL_THERE))


def _orders(scene: Scene) -> Reply | None:
    """Refuse what tries to give orders; what else was said goes on below."""
    if not scene.said.injected or scene.said.stems or "about_itself" in scene.said:
        return None
    return Reply(f"{scene.pick(phrases.NO_ORDERS)} {_what_i_can(scene)}".strip())


def _machine_on_the_line(scene: Scene) -> Reply | None:
    """Deal with a mailbox or a phone menu that answered instead of a person."""
    for act, name in (("keypad", "play_keypad_touch_tone"), ("voicemail", "voicemail_detection")):
        if act in scene.said:
            keys = system_tools.keys_for(scene.said.text, scene.memory.prompt)
            if reply := _system_call(scene, name, reason="a machine answered", keys=keys):
                return reply
    return None


def _wait(scene: Scene) -> Reply | None:
    said = scene.said
    if "wait" not in said or len(said.stems) > 2 or "?" in said.text or entities.codes_in(said.text):
        return None
    return _system_call(scene, "skip_turn", reason="the caller asked to wait") or Reply(
        scene.pick(phrases.TAKE_YOUR_TIME)
    )


def _person(scene: Scene) -> Reply | None:
    """Hand over when the caller asks for a person."""
    put_through = phrases.PUT_THROUGH in scene.memory.last_agent and "yes" in scene.said
    if "person" not in scene.said and not put_through:
        return None
    for name in ("transfer_to_number", "transfer_to_agent"):
        if reply := _system_call(scene, name, reason="the caller asked for a person", text=phrases.CONNECTING):
            return reply
    escalating = [
        t for t in scene.tools if t.stems & {"human", "person", "escalat", "callback", "handover", "operator"}
    ]
    if escalating:
        return tool_turns.start(scene, escalating[0])
    told = retrieval.answer_from(scene.memory.prompt, "speak to a person on the phone", min_coverage=0.45)
    return Reply(f"{phrases.NO_TRANSFER} {told.text if told else _what_i_can(scene)}".strip())


def _switch_language(scene: Scene) -> Reply | None:
    wanted = scene.said.language_wanted
    if not wanted:
        return None
    if reply := _system_call(scene, "language_detection", reason="the caller asked to switch", language=wanted):
        return reply
    return Reply("Yes, we can go on in English. How can I help you?" if wanted == "en" else phrases.ONLY_ENGLISH)


def _itself(scene: Scene) -> Reply | None:
    """Say plainly what speaks here, and who."""
    if "about_itself" in scene.said:
        name = f"I'm {scene.brief.name}. " if scene.brief.name else ""
        return Reply(f"{name}{phrases.WHAT_I_AM}")
    if "who" in scene.said:
        return Reply(f"{scene.brief.introduction}. How can I help you?")
    if "abilities" in scene.said:
        return Reply(_what_i_can(scene) or f"{scene.brief.introduction}. Just ask me.")
    return None


def _say_again(scene: Scene) -> Reply | None:
    if "repeat" not in scene.said or len(scene.said.stems) > 3 or not scene.memory.last_agent:
        return None
    return Reply(f"I said: {scene.memory.last_agent.removeprefix('I said: ')}")


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
        return Reply("Of course. What can I do for you?") if yes else _close(scene)
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
            else f"No problem, but I need the {parameter.label} to {tool.capability}. {_handover(scene)}"
        )
    if "no" in said and not said.stems:
        return Reply(f"{scene.pick(phrases.NOT_DONE)} {scene.pick(phrases.ANYTHING_ELSE)}")
    if said.is_only_social or said.is_question or "goodbye" in said or deeds_in(said.text):
        return None
    if slots.fill(tool.parameters, [Heard(said.text)], tool_stems=own):
        return tool_turns.start(scene, tool)
    return None if said.foreign else tool_turns.start(scene, tool, again=True)


def _is_something_else(scene: Scene, kind: str) -> bool:
    """Say whether an answer that would fit anything is in truth another request."""
    said = scene.said
    if kind not in ("words", "sentence", "name", "place"):
        return False
    if said.is_only_social and ("thanks" in said or "goodbye" in said or "greeting" in said):
        return True
    return "unsure" in said or ("no" in said and not said.stems) or (said.is_question and "?" in said.text)


def _correction(scene: Scene) -> Reply | None:
    return tool_turns.corrected(scene)


def _goodbye(scene: Scene) -> Reply | None:
    if "goodbye" not in scene.said or not scene.said.is_only_social:
        return None
    return _close(scene)


def _try_again(scene: Scene) -> Reply | None:
    wants = "again" in scene.said and len(scene.said.stems) <= 2
    return tool_turns.retried(scene) if wants else None


def _tools(scene: Scene) -> Reply | None:
    """Call the tool that the words ask for, unless the prompt itself answers a general question."""
    if scene.said.foreign and not entities.codes_in(scene.said.text):
        return None
    choice = choose(scene.tools, scene.said)
    if choice is None or _is_general(scene, choice):
        return None
    return tool_turns.start(scene, choice.tool)


def _is_general(scene: Scene, choice: Choice) -> bool:
    """Say whether the question is about how things are, not about the caller's own case."""
    said = scene.said
    own = {"my", "mine", "our"} & set(words(said.text)) or entities.codes_in(said.text)
    wants = said.is_request and choice.tool.deeds
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
    for part in [said.text, *said.parts][:8]:
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


def _other_desk(scene: Scene) -> Reply | None:
    """Hand over what the description of a transfer tool says is meant for somebody else."""
    tool = system_tools.fitting_transfer(scene.specs, scene.said)
    if tool is None:
        return None
    return _system_call(scene, tool.name, reason="the topic is handled there", text=phrases.CONNECTING)


def _social(scene: Scene) -> Reply | None:
    """Greet, thank, take small talk."""
    said = scene.said
    if not said.is_only_social:
        return None
    if "thanks" in said:
        return Reply(f"{scene.pick(phrases.WELCOME)} {scene.pick(phrases.ANYTHING_ELSE)}")
    if "how_are_you" in said:
        return Reply(f"{phrases.HOW_I_AM} How can I help you?")
    if "greeting" in said:
        return Reply(_hello(scene))
    if names := entities.names_in(said.text):
        return Reply(f"Thank you, {names[-1].value}. How can I help you?")
    return None


def _goal(scene: Scene) -> Reply | None:
    """Ask for the next thing that the goal needs and no tool will ask for."""
    covered = {s for tool in scene.tools for s in (*tool.parameter_stems, *tool.name_stems)}
    asks = [a for a in scene.brief.asks if not (stems := set(content_stems(a))) or not stems <= covered]
    open_asks = [a for a in asks if not any(a in text for text in scene.memory.agent_texts)]
    answered = any(a in scene.memory.last_agent for a in asks)
    if not asks or scene.said.foreign or (scene.said.is_question and not answered and not scene.said.is_request):
        return None
    if open_asks:
        return Reply(phrases.ask_goal(open_asks[0], first=not answered))
    return Reply(f"{phrases.NOTED} {scene.pick(phrases.ANYTHING_ELSE)}") if answered else None


def _cannot(scene: Scene) -> Reply | None:
    """Say honestly what is forbidden, impossible or unknown."""
    said = scene.said
    if not said.stems:
        return None
    if said.foreign:
        return Reply(phrases.ONLY_ENGLISH)
    if forbidden := retrieval.limit_on(scene.memory.prompt, said.text):
        return Reply(f"I'm sorry, I can't {forbidden}. {_handover(scene)}".strip())
    if deeds_in(said.text) or said.is_request:
        return Reply(f"{scene.pick(phrases.CANNOT)} {_handover(scene)}".strip())
    if said.is_question:
        return Reply(f"{scene.pick(phrases.UNKNOWN)} {_what_i_can(scene)}".strip())
    return None


def _repair(scene: Scene) -> str:
    if scene.said.injected:
        return f"{scene.pick(phrases.NO_ORDERS)} {_what_i_can(scene)}".strip()
    if "no" in scene.said and scene.said.is_only_social:
        return f"All right. {scene.pick(phrases.ANYTHING_ELSE)}"
    if "yes" in scene.said and scene.said.is_only_social:
        return "All right. What can I do for you?"
    tried = sum(any(r in text for r in phrases.REPAIR) for text in scene.memory.agent_texts)
    return (
        scene.pick(phrases.REPAIR)
        if tried < len(phrases.REPAIR)
        else f"{scene.pick(phrases.REPAIR)} {_handover(scene)}"
    )


def _close(scene: Scene) -> Reply:
    text = scene.pick(phrases.CLOSING)
    return _system_call(scene, "end_call", reason="the caller said goodbye", text=text) or Reply(text)


def _system_call(
    scene: Scene, name: str, *, reason: str, text: str = "", language: str = "", keys: str = ""
) -> Reply | None:
    tool = system_tools.find_tool(scene.specs, name)
    if tool is None:
        return None
    topic = " ".join(e.text for e in scene.memory.exchanges[-3:])
    arguments = system_tools.arguments_for(tool, reason=reason, message=text, topic=topic, language=language, keys=keys)
    return Reply(text, (PlannedCall(name, arguments),)) if arguments is not None else None


def _hello(scene: Scene) -> str:
    introduced = scene.brief.name and any(scene.brief.name in text for text in scene.memory.agent_texts)
    if introduced or scene.memory.agent_texts:
        return "Hello! How can I help you?"
    return f"Hello, {scene.brief.introduction}. How can I help you?"


def _handover(scene: Scene) -> str:
    if system_tools.find_tool(scene.specs, *system_tools.TRANSFERS):
        return phrases.PUT_THROUGH
    return phrases.COLLEAGUE


def _what_i_can(scene: Scene) -> str:
    topics = dict.fromkeys(p.heading.lower() for p in scene.brief.facts if p.heading and len(p.heading) < 30)
    general = ("knowledge", "faq", "facts", "information", "knowledge base")
    return phrases.can_help_with([t.capability for t in scene.tools], [t for t in topics if t not in general])


def _with_empathy(scene: Scene, reply: Reply) -> Reply:
    """Begin with a kind word when the caller is upset, once in a row."""
    last = scene.memory.last_agent
    if "upset" not in scene.said or not reply.text or any(e in last for e in phrases.EMPATHY):
        return reply
    if reply.text.startswith(("I'm sorry", "I'm afraid", "Sorry")):
        return reply
    return reply._replace(text=f"{scene.pick(phrases.EMPATHY)} {reply.text}")


def _upset(scene: Scene) -> Reply | None:
    if "upset" not in scene.said:
        return None
    return Reply(f"{scene.pick(phrases.EMPATHY)} {_handover(scene)}")


def _lowered(text: str) -> str:
    return text if text.startswith("I ") else text[0].lower() + text[1:]


_RULES: tuple[Callable[[Scene], Reply | None], ...] = (
    _silence,
    _orders,
    _machine_on_the_line,
    _wait,
    _person,
    _switch_language,
    _itself,
    _say_again,
    _yes_or_no,
    _asked_value,
    _correction,
    _goodbye,
    _try_again,
    _tools,
    _known_result,
    _knowledge,
    _other_desk,
    _social,
    _goal,
    _cannot,
    _upset,
)

__all__ = ["Reply", "answer", "read_said"]
