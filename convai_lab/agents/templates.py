"""Templates: what does a new agent of a well-known kind look like?"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from convai_lab.agents.agent import Agent, EvaluationCriterion
from convai_lab.errors import InvalidValueError

_EVENTS = ("audio", "interruption")
_SUPPORT_PROMPT = """\
You are {name}, a friendly and patient customer service representative.

# Goal
1. Find out what the customer needs, and repeat it in your own words.
2. Solve it step by step, or say plainly what you cannot do and who can.
3. Ask whether anything is left before you close.

# Rules
- Keep answers short: two or three sentences.
- Stay calm and polite, also when the customer is upset.
- Never invent orders, prices, dates or policies. If you do not know, say so."""
_ASSISTANT_PROMPT = """\
You are {name}, a capable personal assistant.

# Goal
Help with questions, plans, writing and everyday tasks. Ask one short question back when a request is unclear.

# Rules
- Answer first, explain after, and keep it brief.
- Say when you are not sure."""


def from_template(name: str, template: str = "default", *, llm: str | None = None) -> Agent:
    """Return a new agent of that name, made from a template of the vendor's command line.

    Templates are ``default`` (also called ``complete``), ``minimal``, ``voice-only``, ``text-only``,
    ``customer-service`` and ``assistant``. Without `llm` the platform's own default serves the agent: ``offline`` on
    the local platform, the vendor's choice on the cloud (its command line writes ``gemini-2.5-flash``).

    Raises:
        InvalidValueError: There is no such template.

    Example:
        >>> agent = from_template("Ada", "minimal")
        >>> agent.prompt, agent.llm
        ('You are Ada, a helpful AI assistant.', None)
    """
    make = TEMPLATES.get(template) if isinstance(template, str) else None
    if make is None:
        close = difflib.get_close_matches(str(template)[:60], TEMPLATES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(TEMPLATES)}"
        raise InvalidValueError(f"there is no template {str(template)[:60]!r}: {hint}", field="template")
    return make(name).with_changes(llm=llm)


def _default(name: str) -> Agent:
    return Agent(
        name=name,
        prompt=f"You are {name}, a helpful AI assistant.",
        client_events=_EVENTS,
        extra={"platform_settings": {"widget": {"transcript_enabled": False}}},
    )


def _minimal(name: str) -> Agent:
    return Agent(name=name, prompt=f"You are {name}, a helpful AI assistant.")


def _voice_only(name: str) -> Agent:
    widget = {"transcript_enabled": False, "supports_text_only": False, "text_input_enabled": False}
    return _default(name).with_changes(extra={"platform_settings": {"widget": widget}})


def _text_only(name: str) -> Agent:
    return _default(name).with_changes(text_only=True, allowed_overrides=())


def _customer_service(name: str) -> Agent:
    goals = {
        "helpfulness": "The agent gave the customer useful, relevant help with what they asked for.",
        "professionalism": "The agent stayed polite, patient and professional throughout.",
        "problem_resolution": "The customer's problem was solved, or handed on with a clear next step.",
    }
    widget = {"transcript_enabled": False}
    return _default(name).with_changes(
        prompt=_SUPPORT_PROMPT.replace("{name}", name),
        temperature=0.1,
        max_duration_secs=1800,
        criteria=tuple(EvaluationCriterion(id=key, goal=goal) for key, goal in goals.items()),
        tags=("customer-service",),
        extra={"platform_settings": {"widget": widget, "call_limits": {"daily_limit": 10_000}}},
    )


def _assistant(name: str) -> Agent:
    return _default(name).with_changes(
        prompt=_ASSISTANT_PROMPT.replace("{name}", name),
        temperature=0.3,
        max_tokens=1000,
        tags=("assistant", "general-purpose"),
    )


TEMPLATES: dict[str, Callable[[str], Agent]] = {
    "default": _default,
    "complete": _default,
    "minimal": _minimal,
    "voice-only": _voice_only,
    "text-only": _text_only,
    "customer-service": _customer_service,
    "assistant": _assistant,
}
"""The templates by name, each a function from an agent's name to the agent."""
