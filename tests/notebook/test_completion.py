from __future__ import annotations

import pytest

from convai_lab.notebook.completion import complete
from convai_lab.notebook.magics import AGENT, CHAT, LAB, TRANSCRIPTS

NAMES = ("support", "booking", "two words")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("%agent su", ["support"]),
        ("%agent ", ["support", "booking"]),
        ("%%agent bo", ["booking"]),
        ("%agent support --te", ["--temperature", "--text-only", "--template"]),
        ("%agent support --llm gpt-4o-", ["gpt-4o-mini"]),
        ("%agent support --voice G", ["George"]),
        ("%agent support --tool end", ["end_call"]),
        ("%agent support --template vo", ["voice-only"]),
        ("%agent --llm offline su", ["support"]),
        ("%agent support --text-only --vo", ["--voice"]),
    ],
)
def test_the_words_that_fit_are_offered(line: str, offered: list[str]) -> None:
    assert complete(AGENT, line, agent_names=NAMES) == offered


def test_a_free_value_offers_nothing() -> None:
    assert complete(AGENT, "%agent support --temperature ", agent_names=NAMES) == []


def test_every_magic_offers_its_help() -> None:
    assert complete(LAB, "%lab --h") == ["--help"]
    assert complete(CHAT, "%chat support --c", agent_names=NAMES) == ["--continue", "--conversation"]
    assert "--since" in complete(TRANSCRIPTS, "%transcripts --")


@pytest.mark.parametrize("line", ["", "%agent", "%agent 'open", "%agent --nonsense x "])
def test_a_half_written_line_is_harmless(line: str) -> None:
    assert isinstance(complete(AGENT, line), list)
