"""Offline user: a caller without a model, a key or a network.

It says its opening, tells the facts it is asked for, corrects what was misunderstood, and stops when it has what it
came for, when the agent says goodbye, or when it is asked the same thing too often. Its own phrases are English.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.simulation.asking import asked_in, facts_asked, offers, question_key, wrong_value
from convai_lab.simulation.persona import DEFAULT_PATIENCE
from convai_lab.simulation.scenario import Scenario
from convai_lab.simulation.simulated_user import Move, Stop, user_turns
from convai_lab.simulation.wording import worded

MAX_CORRECTIONS = 2
MAX_HEARD_CHARS = 20_000
"""Nobody listens longer."""
CONFIRMATIONS = ("confirmation", "second_confirmation")
TALKS_BACK = ("goodbye", "thank")
"""A goal that names one of these is not over before the caller has said goodbye."""


@dataclass(frozen=True)
class OfflineUser:
    """A caller who follows rules: the same conversation, scenario and seeds always give the same move."""

    seed: int = 0
    name: str = field(default="offline", init=False)

    async def next_move(self, conversation: Conversation, scenario: Scenario) -> Move:
        """Return what the caller does after the last turn."""
        turn = user_turns(conversation, scenario)
        move = _opening(conversation, scenario) if turn == 0 else self._reaction(conversation, scenario)
        if move.text is None or scenario.persona is None or not scenario.persona.style:
            return move
        chance = random.Random(f"{self.seed}/{conversation.seed}/{scenario.id}/{turn}")  # noqa: S311 - repeatable
        return Move(text=worded(move.text, scenario.persona.style, chance), stop=move.stop)

    def _reaction(self, conversation: Conversation, scenario: Scenario) -> Move:
        """Go through the conversation again, so that what was told and asked before is known, and react to its end."""
        memory = _Memory(scenario)
        move = Move(stop="script_over")
        for turns in _exchanges(conversation.turns[len(scenario.history) :]):
            memory.take_in(turns)
            move = memory.react(" ".join(_heard(turn) for turn in turns).strip())
        return move


def _opening(conversation: Conversation, scenario: Scenario) -> Move:
    if scenario.opening:
        return Move(text=scenario.opening)
    if scenario.history and conversation.turns[-1].role == "agent":
        memory = _Memory(scenario)
        return memory.react(_heard(conversation.turns[-1]))
    if scenario.goal or scenario.facts:
        return Move(text=scenario.goal or next(iter(scenario.facts.values())))
    return Move(fault="nothing_to_say", detail="the scenario has no opening, no goal and no facts: give it an opening")


def _exchanges(turns: tuple[Turn, ...]) -> Iterator[list[Turn]]:
    """Yield what the agent said after each turn of the caller."""
    said: list[Turn] | None = None
    for turn in turns:
        if turn.role == "user":
            if said is not None:
                yield said
            said = []
        elif said is not None:
            said.append(turn)
    if said is not None:
        yield said


def _heard(turn: Turn) -> str:
    return (turn.text if turn.text_heard is None else turn.text_heard)[:MAX_HEARD_CHARS]


class _Memory:
    """What the caller has told and been asked."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._facts = dict(scenario.facts)
        self._asked: Counter[str] = Counter()
        self._corrected: Counter[str] = Counter()
        self._made: list[tuple[str, Mapping[str, object]]] = []
        self._worked: list[tuple[str, Mapping[str, object]]] = []
        persona = scenario.persona
        self._patience = persona.patience if persona else DEFAULT_PATIENCE

    def take_in(self, turns: list[Turn]) -> None:
        """Note which tool calls worked."""
        for turn in turns:
            failed = {result.call_id for result in turn.tool_results if result.is_error}
            self._made += [(call.name, call.arguments) for call in turn.tool_calls]
            self._worked += [(call.name, call.arguments) for call in turn.tool_calls if call.id not in failed]

    def react(self, said: str) -> Move:
        """Answer what the agent said last."""
        if not self._scenario.goal and not self._scenario.facts:
            return Move(stop="script_over")
        asked = asked_in(said)
        if asked.goodbye and not asked.question:
            return self._end(asked.refused)
        if asked.transfer and asked.question and "what" not in self._facts:
            return self._answer("transfer", "Yes, please.")
        if correction := self._correction(said):
            return Move(text=correction)
        if asked.not_found and (right := self._right_value()):
            return Move(text=right)
        if asked.confirm:
            return self._confirm(said)
        if asked.question and (told := self._told(said)):
            return told
        if "what" in self._facts:
            return Move(text=self._facts.pop("what"))
        if asked.wait and not asked.question:
            return self._answer("wait", "Okay.")
        if asked.anything_else or asked.how_to_help or not asked.question:
            return self._end(asked.refused)
        return self._answer(question_key(said), "I don't know.")

    def _confirm(self, said: str) -> Move:
        if offers(said):
            answer = self._facts.get("confirmation", "No, thank you.")
        else:
            key = next((name for name in CONFIRMATIONS if name in self._facts), None)
            answer = self._facts.pop(key) if key else "Yes."
        return self._answer("confirm", answer)

    def _correction(self, said: str) -> str | None:
        for key in self._plain_facts():
            if f"right_{key}" in self._facts or self._corrected[key] >= MAX_CORRECTIONS:
                continue
            if wrong_value(said, key, self._facts):
                self._corrected[key] += 1
                return f"No, the {key.replace('_', ' ')} is {self._facts[key]}."
        return None

    def _right_value(self) -> str | None:
        key = next((name for name in self._facts if name.startswith("right_")), None)
        if key is None:
            return None
        self._facts[key.removeprefix("right_")] = self._facts[key]
        return self._facts.pop(key)

    def _told(self, said: str) -> Move | None:
        keys = facts_asked(said, self._plain_facts())
        if not keys:
            return None
        return self._answer("/".join(keys), ", ".join(dict.fromkeys(self._facts[key] for key in keys)))

    def _plain_facts(self) -> dict[str, str]:
        return {
            key: value
            for key, value in self._facts.items()
            if key not in (*CONFIRMATIONS, "what") and not key.startswith("right_")
        }

    def _answer(self, what: str, text: str) -> Move:
        self._asked[what] += 1
        if self._asked[what] >= self._patience:
            return Move(text="You have asked me that before. I give up, goodbye.", stop="gave_up")
        return Move(text=text)

    def _end(self, refused: bool) -> Move:
        stop: Stop = "goal_reached" if self._has_what_it_wanted(refused) else "gave_up"
        if any(word in self._scenario.goal.lower() for word in TALKS_BACK):
            return Move(text="Thank you, goodbye.", stop=stop)
        return Move(stop=stop)

    def _has_what_it_wanted(self, refused: bool) -> bool:
        expected = self._scenario.expected_tool_calls
        if not expected:
            return not refused
        return all(_is_among(call, self._made) for call in expected) and _is_among(expected[-1], self._worked)


def _is_among(wanted: Mapping[str, object], calls: list[tuple[str, Mapping[str, object]]]) -> bool:
    arguments = wanted.get("arguments")
    pairs = arguments.items() if isinstance(arguments, Mapping) else ()
    return any(name == wanted.get("tool") and all(given.get(k) == v for k, v in pairs) for name, given in calls)
