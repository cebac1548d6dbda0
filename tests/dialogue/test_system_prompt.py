"""The system prompt: variables, language and knowledge."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.agents.agent import Agent, Knowledge
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.dialogue.knowledge import find_passages, knowledge_section
from convai_lab.dialogue.system_prompt import system_prompt, variables_of
from convai_lab.errors import ConvaiLabError, MissingVariableError

NOON = 1_767_268_800.0


def prompt(agent: Agent, conversation: Conversation | None = None) -> str:
    talk = Conversation(id="conv_1", agent_id="agent_1", started_at=NOON) if conversation is None else conversation
    return system_prompt(agent, talk, variables_of(agent, talk, now=NOON + 65))


def test_variables_come_from_the_conversation_then_the_agent_and_the_platforms_own_win() -> None:
    agent = Agent(prompt="{{a}} {{b}} {{system__conversation_id}}", variables={"a": "1", "b": "2"})
    talk = Conversation(id="conv_1", agent_id="x", variables={"b": "3", "system__conversation_id": "forged"})
    assert prompt(agent, talk) == "1 3 conv_1"


def test_what_only_a_driver_knows_may_come_with_the_conversation() -> None:
    talk = Conversation(id="c", agent_id="x", variables={"system__caller_id": "+49 30"})
    assert prompt(Agent(prompt="{{system__caller_id}}"), talk) == "+49 30"


def test_the_time_and_the_history_are_there_for_the_prompt() -> None:
    talk = Conversation(id="c", agent_id="x", started_at=NOON, turns=(Turn(role="user", text="Hi"),))
    filled = prompt(Agent(prompt="{{system__call_duration_secs}} {{system__conversation_history}}"), talk)
    assert filled.startswith("65 ")
    assert '"Hi"' in filled


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(MissingVariableError, match="nobody"):
        prompt(Agent(prompt="{{nobody}}"))


def test_a_secret_variable_never_reaches_the_model() -> None:
    talk = Conversation(id="c", agent_id="x", variables={"secret__token": "t0ps3cret"})
    with pytest.raises(ConvaiLabError, match="headers only"):
        prompt(Agent(prompt="{{secret__token}}"), talk)


def test_the_language_is_told_only_once_it_was_switched() -> None:
    agent = Agent(prompt="p", language="en")
    assert prompt(agent, Conversation(id="c", agent_id="x", language="en")) == "p"
    assert "'de'" in prompt(agent, Conversation(id="c", agent_id="x", language="de"))


def test_small_documents_stand_in_the_prompt_whole() -> None:
    agent = Agent(prompt="p", knowledge=(Knowledge(name="Hours", text="Nine to five."), Knowledge(name="Empty")))
    assert prompt(agent) == "p\n\n# Knowledge\n\n## Hours\nNine to five."


def large(number: int = 200) -> Knowledge:
    facts = [f"Article {i}: the article number {i} costs {i} euros. " + "More words here. " * 10 for i in range(number)]
    return Knowledge(name="Catalogue", text="\n\n".join([*facts, "Parrots live in cages of steel."]))


def test_large_documents_are_looked_up_by_what_the_user_said() -> None:
    talk = Conversation(id="c", agent_id="x", turns=(Turn(role="user", text="In which cages do parrots live?"),))
    filled = prompt(Agent(prompt="p", knowledge=(large(),)), talk)
    assert "Parrots live in cages of steel." in filled
    assert len(filled) < 8_000


def test_a_document_that_must_be_there_is_there_however_large() -> None:
    always = Knowledge(name="All", text="x " * 50_000, usage="prompt")
    assert len(knowledge_section([always, large()], "parrots")) > 100_000


@pytest.mark.parametrize("query", ["", "zzz", "!!!", "\ud800"])
def test_words_that_stand_nowhere_find_nothing(query: str) -> None:
    assert find_passages([large()], query) == []
    assert knowledge_section([large()], query) == ""


def test_the_same_words_find_the_same_passages_in_the_order_of_the_documents() -> None:
    found = find_passages([large()], "article 7 euros")
    assert found == find_passages([large()], "euros 7 article")
    assert [passage.order for passage in found] == sorted(passage.order for passage in found)
    assert any("Article 7:" in passage.text for passage in found)


def test_languages_without_spaces_are_found_too() -> None:
    pages = "\n\n".join(f"第{i}章。" + "これは説明です。" * 30 for i in range(60)) + "\n\n鸚鵡は籠に住む。"
    found = find_passages([Knowledge(name="本", text=pages)], "鸚鵡")
    assert len(found) == 1
    assert "鸚鵡" in found[0].text


@pytest.mark.parametrize("text", ["x" * 100_000, "\n" * 50_000 + "x", "a. " * 40_000, "\x00\ud800" * 5000])
def test_a_hostile_document_is_cut_into_passages_all_the_same(text: str) -> None:
    assert all(len(passage.text) <= 800 for passage in find_passages([Knowledge(name="h", text=text)], "x a"))


def test_an_agent_without_a_prompt_has_no_system_message(bench: Any) -> None:
    loop = bench.loop(["Hi"], agent=Agent())
    bench.exchange(loop, "Hello")
    assert [m.role for m in bench.llm.requests[0].messages] == ["user"]


def test_an_agent_that_does_not_ignore_the_default_personality_has_it_first() -> None:
    agent = Agent(
        prompt="p", extra={"conversation_config": {"agent": {"prompt": {"ignore_default_personality": False}}}}
    )
    assert prompt(agent).startswith("You are a friendly")
    assert prompt(agent).endswith("\n\np")
