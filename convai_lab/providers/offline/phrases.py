"""Phrases: the few sentences that the offline agent knows by heart.

They vary by what was said before, never by chance, so that the same request gives the same words.
"""

from __future__ import annotations

from collections.abc import Sequence

from convai_lab.providers.offline.schemas import Parameter
from convai_lab.providers.offline.words import join_words

REPAIR = (
    "Sorry, I did not catch that. Could you say it another way?",
    "I'm afraid I still do not follow. Could you put it in a few simple words?",
    "Sorry, that is beyond me. What would you like me to do for you?",
)
UNKNOWN = (
    "I'm sorry, I don't have that information.",
    "I'm afraid I don't know that one.",
    "Sorry, that is something I can't answer.",
)
CANNOT = (
    "I'm sorry, I can't do that from here.",
    "I'm afraid that is not something I can do from here.",
)
WELCOME = ("You're welcome.", "My pleasure.", "Happy to help.")
ANYTHING_ELSE = ("Is there anything else I can help with?", "Can I help with anything else?")
STILL_THERE = (
    "Are you still there?",
    "Hello? I can't hear you. Are you still there?",
    "Take your time. I'm still here.",
)
TAKE_YOUR_TIME = ("Of course, take your time.", "Sure, I'll wait.")
EMPATHY = ("I'm sorry about the trouble.", "I understand, and I'm sorry.", "I hear you, and I'm sorry about this.")
CLOSING = ("Thank you for calling. Goodbye!", "Thanks for your call. Have a good day, goodbye!")
NO_ORDERS = (
    "I can't change how I work or share my instructions.",
    "That is not something I can do; my instructions stay as they are.",
)
NOT_DONE = ("All right, I won't do that.", "Okay, I'll leave it as it is.")
HOW_I_AM = "I'm doing well, thank you."
PUT_THROUGH = "I can put you through to someone who can; would you like that?"
COLLEAGUE = "One of my colleagues can help you with that."
CONNECTING = "Of course, I'll put you through now."
NO_TRANSFER = "I'm sorry, I can't put you through to a person from here."
TRANSFER_FAILED = "I'm sorry, I could not put you through just now."
GO_AHEAD = "Shall I go ahead?"
AGAIN_OR_ELSE = "Shall I try again, or can I help with something else?"
WHAT_I_AM = "I'm an automated assistant that runs on offline rules, not a language model."
ONLY_ENGLISH = "I'm sorry, I only understand English here."
IN_ENGLISH = "Yes, we can go on in English. How can I help you?"
NOTED = "Thank you, I have noted that."


def pick(options: Sequence[str], said_before: Sequence[str]) -> str:
    """Return the next of the options: the first that was said least often in the texts before."""
    counts = [sum(option in text for text in said_before) for option in options]
    return options[counts.index(min(counts))]


def ask_for(parameter: Parameter, *, again: bool = False) -> str:
    """Return the question for a missing argument."""
    question = _question(parameter)
    return f"Sorry, I still need that. {question}" if again else question


def offer(capability: str) -> str:
    """Return the question whether something should be done."""
    return f"Would you like me to {capability}?"


def ask_goal(thing: str, *, first: bool) -> str:
    """Return the question for something the goal needs (``your name``)."""
    return f"{'' if first else 'Thank you. '}Could you tell me {thing}, please?"


def confirm(capability: str, details: str) -> str:
    """Return the question before something that cannot easily be undone."""
    return f"Just to confirm: I will {capability}{', ' + details if details else ''}. {GO_AHEAD}"


def can_help_with(capabilities: Sequence[str], topics: Sequence[str]) -> str:
    """Return what the agent can do, in one sentence, or nothing."""
    if capabilities:
        return f"I can {join_words(list(capabilities[:3]), 'or')}."
    return f"I can tell you about {join_words(list(topics[:3]), 'and')}." if topics else ""


def _question(parameter: Parameter) -> str:
    label = parameter.label
    if parameter.kind == "choice" and 0 < len(parameter.choices) <= 5:
        options = [str(c).replace("_", " ") for c in parameter.choices]
        return f"Which {label} would you like: {join_words(options, 'or')}?"
    if parameter.kind == "boolean":
        return f"One question: {label}, yes or no?"
    if parameter.kind == "integer" and any(w in label for w in ("party", "people", "guests", "persons", "seats")):
        return (
            f"For how many people, please ({label})?" if label not in _PEOPLE_LABELS else "For how many people, please?"
        )
    if parameter.kind == "integer" and label.startswith("num "):
        return f"How many {label.removeprefix('num ')} would you like?"
    if fixed := _QUESTIONS.get(label):
        return fixed
    if parameter.kind == "name" and label.endswith(" name"):
        return f"May I have the {label.removesuffix(' name')}'s name, please?"
    if parameter.kind in ("date", "time") and label in ("date", "time", "day"):
        return f"What {label} would you like?"
    if parameter.kind == "sentence":
        return f"Could you tell me the {label}, please?"
    return f"Could you give me the {label}, please?"


_PEOPLE_LABELS = ("party size", "people", "guests", "number of people", "num people", "number of guests", "persons")
_QUESTIONS = {
    "name": "May I have your name, please?",
    "customer name": "May I have your name, please?",
    "caller name": "May I have your name, please?",
    "user name": "May I have your name, please?",
    "your name": "May I have your name, please?",
    "first name": "May I have your first name, please?",
    "last name": "May I have your last name, please?",
    "full name": "May I have your full name, please?",
    "email": "What is your e-mail address?",
    "customer email": "What is your e-mail address?",
    "phone": "What is your phone number?",
    "phone number": "What is your phone number?",
    "city": "Which city is it?",
    "location": "Which place is it?",
    "reason": "May I ask the reason?",
    "query": "What would you like to know?",
    "question": "What would you like to know?",
}
