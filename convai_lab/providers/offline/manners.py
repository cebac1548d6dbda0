"""Manners: how does the agent greet, wait, hand over, decline, close and stay honest about what it is?"""

from __future__ import annotations

import re

from convai_lab.providers.offline import entities, phrases, retrieval, system_tools, tool_turns
from convai_lab.providers.offline.scene import PlannedCall, Reply, Scene
from convai_lab.providers.offline.tool_choice import WEAK_DEEDS, deeds_in


def on_silence(scene: Scene) -> Reply | None:
    """Ask whether the caller is still there when nothing was said."""
    if any(c.isalnum() for c in scene.memory.newest):
        return None
    return Reply(scene.pick(phrases.STILL_THERE))


def on_orders(scene: Scene) -> Reply | None:
    """Refuse what tries to give orders; what else was said goes on below."""
    if not scene.said.injected or scene.said.stems or "about_itself" in scene.said:
        return None
    return Reply(f"{scene.pick(phrases.NO_ORDERS)} {abilities(scene)}".strip())


def on_machine(scene: Scene) -> Reply | None:
    """Deal with a mailbox or a phone menu that answered instead of a person."""
    for act, name in (("keypad", "play_keypad_touch_tone"), ("voicemail", "voicemail_detection")):
        if act in scene.said:
            keys = system_tools.keys_for(scene.said.text, scene.memory.prompt)
            if reply := system_call(scene, name, reason="a machine answered", keys=keys):
                return reply
    return None


def on_wait(scene: Scene) -> Reply | None:
    """Wait when the caller asks for a moment."""
    said = scene.said
    if "wait" not in said or len(said.stems) > 2 or "?" in said.text or entities.codes_in(said.text):
        return None
    return system_call(scene, "skip_turn", reason="the caller asked to wait") or Reply(
        scene.pick(phrases.TAKE_YOUR_TIME)
    )


def on_person(scene: Scene) -> Reply | None:
    """Hand over when the caller asks for a person."""
    put_through = phrases.PUT_THROUGH in scene.memory.last_agent and "yes" in scene.said
    only_curious = "about_itself" in scene.said and not _WANTING.search(scene.said.text)
    if ("person" not in scene.said or only_curious) and not put_through:
        return None
    for name in ("transfer_to_number", "transfer_to_agent"):
        if reply := system_call(scene, name, reason="the caller asked for a person", text=phrases.CONNECTING):
            return reply
    escalating = [
        t for t in scene.tools if t.stems & {"human", "person", "escalat", "callback", "handover", "operator"}
    ]
    if escalating:
        return tool_turns.start(scene, escalating[0])
    told = retrieval.answer_from(scene.memory.prompt, "speak to a person on the phone", min_coverage=0.45)
    return Reply(f"{phrases.NO_TRANSFER} {told.text if told else abilities(scene)}".strip())


def on_language(scene: Scene) -> Reply | None:
    """Switch the language when the caller asks for it and the platform can."""
    wanted = scene.said.language_wanted
    if not wanted:
        return None
    if reply := system_call(scene, "language_detection", reason="the caller asked to switch", language=wanted):
        return reply
    return Reply(phrases.IN_ENGLISH if wanted == "en" else phrases.ONLY_ENGLISH)


def on_itself(scene: Scene) -> Reply | None:
    """Say plainly what speaks here, and who."""
    if "about_itself" in scene.said:
        name = f"I'm {scene.brief.name}. " if scene.brief.name else ""
        return Reply(f"{name}{phrases.WHAT_I_AM}")
    if "who" in scene.said:
        return Reply(f"{scene.brief.introduction}. How can I help you?")
    if "abilities" in scene.said:
        return Reply(abilities(scene) or f"{scene.brief.introduction}. Just ask me.")
    return None


def on_repeat(scene: Scene) -> Reply | None:
    """Say the last thing again."""
    if "repeat" not in scene.said or scene.said.stems or not scene.memory.last_agent:
        return None
    return Reply(f"I said: {scene.memory.last_agent.removeprefix('I said: ')}")


def on_goodbye(scene: Scene) -> Reply | None:
    """Close when the caller takes their leave and asks for nothing more."""
    if "goodbye" not in scene.said or not scene.said.is_only_social:
        return None
    return close(scene)


def on_other_desk(scene: Scene) -> Reply | None:
    """Hand over what the description of a transfer tool says is meant for somebody else."""
    tool = system_tools.fitting_transfer(scene.specs, scene.said)
    if tool is None:
        return None
    return system_call(scene, tool.name, reason="the topic is handled there", text=phrases.CONNECTING)


def on_social(scene: Scene) -> Reply | None:
    """Greet, thank, take small talk."""
    said = scene.said
    if not said.is_only_social:
        return None
    if "thanks" in said:
        return Reply(f"{scene.pick(phrases.WELCOME)} {scene.pick(phrases.ANYTHING_ELSE)}")
    if "how_are_you" in said:
        return Reply(f"{phrases.HOW_I_AM} How can I help you?")
    if "greeting" in said:
        return Reply(hello(scene))
    if names := entities.names_in(said.text):
        return Reply(f"Thank you, {names[-1].value}. How can I help you?")
    return None


def on_forbidden(scene: Scene) -> Reply | None:
    """Decline what the prompt forbids, in its own words."""
    said = scene.said
    if not said.stems or not (said.is_question or said.is_request or deeds_in(said.text)):
        return None
    forbidden = retrieval.limit_on(scene.memory.prompt, said.text)
    return Reply(f"I'm sorry, I can't {forbidden}. {handover(scene)}".strip()) if forbidden else None


def on_impossible(scene: Scene) -> Reply | None:
    """Say honestly what is impossible or unknown."""
    said = scene.said
    if not said.stems:
        return None
    if said.foreign:
        return Reply(phrases.ONLY_ENGLISH)
    if deeds_in(said.text) - WEAK_DEEDS or said.is_request:
        return Reply(f"{scene.pick(phrases.CANNOT)} {handover(scene)}".strip())
    if said.is_question:
        return Reply(f"{scene.pick(phrases.UNKNOWN)} {abilities(scene)}".strip())
    return None


def repair(scene: Scene) -> str:
    """Return what is said when nothing was understood."""
    if scene.said.injected:
        return f"{scene.pick(phrases.NO_ORDERS)} {abilities(scene)}".strip()
    if "no" in scene.said and scene.said.is_only_social:
        return f"All right. {scene.pick(phrases.ANYTHING_ELSE)}"
    if "yes" in scene.said and scene.said.is_only_social:
        return "All right. What can I do for you?"
    tried = sum(any(r in text for r in phrases.REPAIR) for text in scene.memory.agent_texts)
    return (
        scene.pick(phrases.REPAIR) if tried < len(phrases.REPAIR) else f"{scene.pick(phrases.REPAIR)} {handover(scene)}"
    )


def close(scene: Scene) -> Reply:
    """Say goodbye, and end the call when the platform can."""
    text = scene.pick(phrases.CLOSING)
    return system_call(scene, "end_call", reason="the caller said goodbye", text=text) or Reply(text)


def system_call(
    scene: Scene, name: str, *, reason: str, text: str = "", language: str = "", keys: str = ""
) -> Reply | None:
    """Return a call of one of the platform's own tools, or None when it is not offered or cannot be filled."""
    tool = system_tools.find_tool(scene.specs, name)
    if tool is None:
        return None
    topic = " ".join(e.text for e in scene.memory.exchanges[-3:])
    arguments = system_tools.arguments_for(tool, reason=reason, message=text, topic=topic, language=language, keys=keys)
    if arguments is None:
        return None
    said_by_platform = "client_message" in arguments
    return Reply("" if said_by_platform else text, (PlannedCall(name, arguments),))


def hello(scene: Scene) -> str:
    """Return the greeting; the name is said once."""
    introduced = scene.brief.name and any(scene.brief.name in text for text in scene.memory.agent_texts)
    if introduced or scene.memory.agent_texts:
        return "Hello! How can I help you?"
    return f"Hello, {scene.brief.introduction}. How can I help you?"


def handover(scene: Scene) -> str:
    """Return what somebody else can do."""
    if system_tools.find_tool(scene.specs, *system_tools.TRANSFERS):
        return phrases.PUT_THROUGH
    return phrases.COLLEAGUE


def abilities(scene: Scene) -> str:
    """Return what the agent can do, in one sentence, or nothing."""
    topics = dict.fromkeys(p.heading.lower() for p in scene.brief.facts if p.heading and len(p.heading) < 30)
    general = ("knowledge", "faq", "facts", "information", "knowledge base")
    return phrases.can_help_with([t.capability for t in scene.tools], [t for t in topics if t not in general])


def with_empathy(scene: Scene, reply: Reply) -> Reply:
    """Begin with a kind word when the caller is upset, once in a row."""
    last = scene.memory.last_agent
    if "upset" not in scene.said or not reply.text or any(e in last for e in phrases.EMPATHY):
        return reply
    if reply.text.startswith(("I'm sorry", "I'm afraid", "Sorry")):
        return reply
    return reply._replace(text=f"{scene.pick(phrases.EMPATHY)} {reply.text}")


def on_upset(scene: Scene) -> Reply | None:
    """Offer a way on to a caller who is only upset."""
    if "upset" not in scene.said:
        return None
    return Reply(f"{scene.pick(phrases.EMPATHY)} {handover(scene)}")


_WANTING = re.compile(r"\b(?:want|need|speak|connect|transfer|talk to|(?:put|get|give|let) me)\b", re.I)
