"""Brief: what does the system prompt say about who speaks, what is known, and what must not be done?

Facts are kept apart from instructions: only facts are ever said to the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

from convai_lab.providers.offline import wording
from convai_lab.providers.offline.words import content_stems, listed, sentences, words

MAX_PROMPT_CHARS = 32_000
"""How much of a prompt is read sentence by sentence; `narrowed` picks it from a longer one."""
MAX_HEAD_CHARS = 12_000
MAX_LINE_CHARS = 1_500
MAX_HITS = 200

Room = Literal["knowledge", "instructions", "limits", "open"]


class Passage(NamedTuple):
    """Something that may be said, what else it is found by, and the section it stands in."""

    text: str
    cue: str = ""
    heading: str = ""


@dataclass
class Brief:
    """What a system prompt says, sorted by what it is good for."""

    name: str = ""
    role: str = ""
    employer: str = ""
    facts: list[Passage] = field(default_factory=list)
    limits: list[Passage] = field(default_factory=list)
    asks: list[str] = field(default_factory=list)
    instructions: list[str] = field(default_factory=list)

    @property
    def confirms_first(self) -> bool:
        """Say whether the prompt wants a confirmation before something is done."""
        return any(_CONFIRM_FIRST.search(sentence) for sentence in self.instructions)

    @property
    def introduction(self) -> str:
        """Return who is speaking, as the agent would say it."""
        if self.name:
            return f"I'm {self.name}" + (f", {self.role}" if self.role else "")
        return f"I'm {self.role}" if self.role else "I'm the assistant here"


@lru_cache(maxsize=64)
def read_brief(prompt: str) -> Brief:
    """Read a system prompt; the result is shared, so do not change it."""
    brief = Brief()
    for room, heading, question, text in _LineReader().read(_TABLE_HEAD.sub("", prompt[: 2 * MAX_PROMPT_CHARS])):
        for sentence in [text] if question else _sentences_of(text):
            _sort(brief, sentence, Passage(sentence, question, heading), room)
    return brief


def narrowed(prompt: str, needles: frozenset[str]) -> str:
    """Return the part of a very long prompt that can matter: its beginning, and the lines that hold a needle."""
    if len(prompt) <= MAX_PROMPT_CHARS:
        return prompt
    lowered = prompt.lower()
    if len(lowered) != len(prompt):  # a few capitals grow when lowered, which would shift every position
        lowered = prompt
    spans = sorted({_line_around(prompt, at) for needle in needles for at in _hits(lowered, needle)})
    room, kept, last_end = MAX_PROMPT_CHARS - MAX_HEAD_CHARS, [prompt[:MAX_HEAD_CHARS], "# Knowledge"], MAX_HEAD_CHARS
    for start, end in spans:
        if start >= last_end and room > 0:
            kept.append(prompt[start:end])
            room, last_end = room - (end - start), end
    return "\n".join(kept)


def _hits(text: str, needle: str) -> Iterator[int]:
    at, found = text.find(needle), 0
    while at != -1 and found < MAX_HITS:
        if at >= MAX_HEAD_CHARS and not text[at - 1].isalnum():
            found += 1
            yield at
        at = text.find(needle, at + len(needle))


def _line_around(text: str, at: int) -> tuple[int, int]:
    start = max(text.rfind("\n", 0, at) + 1, at - MAX_LINE_CHARS // 2)
    end = text.find("\n", at, at + MAX_LINE_CHARS // 2)
    if text[start : start + 2].lower() == "a:" and start > 1:
        start = max(text.rfind("\n", 0, start - 1) + 1, start - MAX_LINE_CHARS // 2)
    if end != -1 and text[end + 1 : end + 3].lower() == "a:":
        end = text.find("\n", end + 1, end + MAX_LINE_CHARS)
    return start, end if end != -1 else min(len(text), at + MAX_LINE_CHARS // 2)


class _Line(NamedTuple):
    """One line of a prompt: the kind of its section, the heading over it, and the question that it answers."""

    room: Room
    heading: str
    question: str
    text: str


class _LineReader:
    """Joins wrapped lines, pairs questions with answers, and knows under which heading it is."""

    def __init__(self) -> None:
        self._room: Room = "open"
        self._heading = self._question = self._waiting = ""

    def read(self, prompt: str) -> Iterator[_Line]:
        """Yield what the prompt says, line by line."""
        for raw in prompt.splitlines():
            yield from self._take(raw[: 4 * MAX_LINE_CHARS])
        yield from self._flush()

    def _take(self, raw: str) -> Iterator[_Line]:
        line = wording.unmarked(raw)
        title = wording.heading_of(raw.strip()) if len(raw) < 200 else None
        if title is not None or not line:
            yield from self._flush()
            if title is not None:
                self._heading, self._room = title, _room_of(title)
        elif self._question:
            yield _Line("knowledge", self._heading, self._question, _ANSWER_LABEL.sub("", line))
            self._question = ""
        elif question := self._lone_question(line):
            yield from self._flush()
            self._question = question
        elif self._goes_on(raw, line):
            self._waiting += " " + line
        else:
            yield from self._flush()
            self._waiting = line

    def _flush(self) -> Iterator[_Line]:
        line, self._waiting, self._question = self._waiting, "", ""
        if line:
            question, text = self._pair(line)
            yield _Line("knowledge" if question else self._room, self._heading, question, text)

    def _lone_question(self, line: str) -> str:
        if _LABELLED_PAIR.match(line):
            return ""
        if labelled := _LABELLED_QUESTION.match(line):
            return labelled.group(1)
        return line if self._room == "knowledge" and line.endswith("?") and len(line) < 200 else ""

    def _pair(self, line: str) -> tuple[str, str]:
        pair = _LABELLED_PAIR.match(line) or (_PLAIN_PAIR.match(line) if self._room == "knowledge" else None)
        return (pair.group(1), pair.group(2)) if pair else ("", line)

    def _goes_on(self, raw: str, line: str) -> bool:
        waiting = self._waiting
        return (
            bool(waiting) and line[0].islower() and not waiting.endswith((".", "!", "?", ":")) and not _ITEM.match(raw)
        )


def _sentences_of(line: str) -> Iterator[str]:
    for sentence in sentences(_STEP_NUMBER.sub(" ", line)[:MAX_PROMPT_CHARS]):
        text = sentence.strip(" -*•")
        if any(c.isalnum() for c in text) and not _STEP_ONLY.fullmatch(text):
            yield text[:MAX_LINE_CHARS]


def _sort(brief: Brief, sentence: str, passage: Passage, room: Room) -> None:
    """Put one sentence where it belongs."""
    if passage.cue:
        brief.facts.append(passage._replace(text=wording.to_caller(sentence)))
        return
    if _is_about_agent(sentence):
        _learn_identity(brief, sentence)
    if told := wording.told_when_asked(sentence):
        when, what = told
        brief.facts.append(Passage(wording.to_caller(what), when, passage.heading))
    elif forbidden := wording.forbidden_act(sentence):
        brief.limits.append(Passage(forbidden, sentence, passage.heading))
    elif (room in ("knowledge", "open") and wording.is_fact(sentence, in_knowledge=room == "knowledge")) or (
        room in ("instructions", "limits") and wording.is_plain_fact(sentence)
    ):
        brief.facts.append(passage._replace(text=wording.to_caller(sentence)))
    else:
        brief.instructions.append(sentence)
        brief.asks.extend(ask for ask in wording.things_to_ask(sentence) if ask not in brief.asks)


def _room_of(title: str) -> Room:
    named = set(words(title))
    if named & _LIMIT_TITLES:
        return "limits"
    if named & _KNOWLEDGE_TITLES:
        return "knowledge"
    return "instructions" if named & _INSTRUCTION_TITLES else "open"


def _is_about_agent(sentence: str) -> bool:
    return bool(_ABOUT_AGENT.match(sentence))


def _learn_identity(brief: Brief, sentence: str) -> None:
    if not brief.name and (named := _NAMED.search(sentence)):
        candidate = (named.group(1) or named.group(2)).strip()
        if candidate.split()[0].lower() not in _NOT_A_NAME and (candidate[0].isupper() or not candidate[0].isascii()):
            brief.name = candidate
    if not brief.role and (role := _ROLE.search(sentence)):
        brief.role = wording.without_manner(role.group(1))
    elif not brief.role and (role := _BARE_ROLE.search(sentence)):
        brief.role = wording.without_manner("a " + role.group(1))
    if not brief.employer and (employer := _EMPLOYER.search(sentence)):
        brief.employer = employer.group(1).strip()


def topic_stems(brief: Brief) -> set[str]:
    """Return the stems of everything the prompt speaks about, to know what is in scope."""
    texts = [p.text for p in (*brief.facts, *brief.limits)] + brief.instructions
    return {s for text in texts[:400] for s in content_stems(text)}


_KNOWLEDGE_TITLES = frozenset(
    listed(
        """
    knowledge faq faqs facts information info about policies policy menu hours products services prices
    pricing delivery shipping returns background company catalogue catalog questions answers details
    reference locations opening treatments rooms contact data notes
"""
    )
)
_INSTRUCTION_TITLES = frozenset(
    listed(
        """
    personality persona goal goals task tasks role tone style voice instructions instruction workflow
    steps objective objectives environment identity character behaviour behavior tools process procedure
    approach how job purpose manner conversation flow script
"""
    )
)
_LIMIT_TITLES = frozenset(
    listed(
        """
    guardrails guardrail limits rules restrictions boundaries constraints safety never
"""
    )
)
_NOT_A_NAME = frozenset(
    listed(
        """
    a an the in on at here there now always never not helpful friendly calm speaking talking responsible
    able available polite professional warm patient kind ready based working expected required allowed
    free going given provided asked trained supposed designed
"""
    )
)
_LABELLED_QUESTION = re.compile(r"Q(?:uestion)?\s*\d*\s*[:.)]\s*(.+)", re.I)
_LABELLED_PAIR = re.compile(r"Q(?:uestion)?\s*\d*\s*[:.)]\s*(.+?)\s+A(?:nswer)?\s*\d*\s*[:.)]\s*(\S.*)", re.I)
_PLAIN_PAIR = re.compile(r"([^?]{3,200}\?)\s+(\S.*)")
_ANSWER_LABEL = re.compile(r"^A(?:nswer)?\s*\d*\s*[:.)]\s*", re.I)
_ITEM = re.compile(r"\s*(?:[-*•+]|\d{1,2}[.)])\s")
_TABLE_HEAD = re.compile(r"^\|[^\n]*\|[ \t]*\n\|[ \t:|-]+\|[ \t]*$", re.M)
_STEP_NUMBER = re.compile(r"(?:^|(?<=[.!?;:]))\s*\d{1,2}[.)]\s+")
_STEP_ONLY = re.compile(r"\d{1,2}[.)]?")
_READ_BACK = r"(?:confirm|(?:read|repeat|say)\b.{0,60}\bback)"
_CONFIRM_FIRST = re.compile(rf"\b{_READ_BACK}\b.{{0,160}}\bbefore\b|\bbefore\b.{{0,160}}\b{_READ_BACK}\b", re.I)
_ABOUT_AGENT = re.compile(r"(?:you|your|act as|i am|i'm|my name)\b", re.I)
_NAMED = re.compile(
    r"(?:[Yy]ou(?:'re|’re| are)|[Aa]ct as|I am|I'm)\s+(?:called\s+|named\s+)?"
    r"([^\W\d_][^\W\d_'’-]*(?:['’-]\w+)*(?:\s(?!I\b)[A-Z][\w'’-]+)?)"
    r"(?=\s*(?:[,.;:!(]|$|from\b|at\b|of\b|for\b|and\b|who\b|the\b|with\b|[-–—]))"
    r"|(?:[Nn]ame is|called|named|go by)\s+([^\W\d_][\w'’-]*)",
)
_ROLE = re.compile(
    r"(?:you(?:'re|’re| are)|act as|i am|i'm)\b[^.;:!?]{0,60}?\b((?:an?|"
    r"the)\s[^.,;:!?\n]{2,120})",
    re.I,
)
_BARE_ROLE = re.compile(r"(?:[Yy]ou(?:'re|’re| are)|I am|I'm)\s+[A-Z]\w*(?: [A-Z]\w*)?,\s+([a-z][^.,;:!?\n]{3,100})")
_EMPLOYER = re.compile(
    r"\b(?:for|at|of|from)\s+((?:the\s+)?[A-Z][\w&'’-]*(?:\s+(?:[A-Z][\w&'’-]*|&|of|and(?=\s[A-Z])))*)"
)
