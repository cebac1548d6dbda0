"""An agent is a value: it takes friendly input, names what is wrong, compares and changes."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest

from convai_lab.agents.agent import Agent, Change, CustomLLM, DataItem, EvaluationCriterion, Knowledge
from convai_lab.agents.tools import ClientTool, SystemTool, WebhookTool, tool
from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.agents.wire_format import agent_from_wire, agent_to_wire
from convai_lab.agents.wire_rules import with_defaults
from convai_lab.errors import InvalidConfigError


@tool
def look_up(x: str) -> str:
    """Look something up."""
    return x


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"speed": 5}, "speed: must be from 0.7 to 1.2, got 5"),
        ({"stability": -1}, "stability: must be from 0 to 1, got -1"),
        ({"temperature": 2.1}, "temperature: must be from 0 to 2, got 2.1"),
        ({"temperature": True}, "temperature: must be a number, got True"),
        ({"temperature": math.nan}, "temperature: must be a finite number, got nan"),
        ({"temperature": "hot"}, "temperature: must be a number, got 'hot'"),
        ({"max_tokens": -5}, "max_tokens: must be from -1 to 1000000, got -5"),
        ({"max_duration_secs": 0}, "max_duration_secs: must be from 1 to 86400, got 0"),
        ({"prompt": 5}, "prompt: must be a text, got 5"),
        ({"prompt": None}, "prompt: must be a text, got null"),
        ({"name": "  "}, "name: must not be empty"),
        ({"name": None}, "name: must not be empty"),
        ({"llm": ""}, "llm: must have at least 1 characters, got 0"),
        ({"voice": "Gorge"}, "voice: there is no voice called 'Gorge': did you mean George"),
        ({"voice": None}, "voice: must be a "),
        ({"asr": ""}, "asr: must be the name of a speech engine, such as offline, got ''"),
        ({"tts": 5}, "tts: must be the name of a speech engine, such as offline, got 5"),
        ({"tts": "a\nb"}, "tts: must be the name of a speech engine"),
        ({"tts_model": "best"}, "tts_model: must be eleven_turbo_v2, "),
        ({"timezone": "Mars"}, "timezone: there is no time zone 'Mars'"),
        ({"output_audio_format": "mp3"}, "output_audio_format: must be pcm_8000, "),
        ({"turn": TurnTaking(eagerness="very")}, "turn.eagerness: must be patient, normal or eager, got 'very'"),
        ({"turn": {"silence": 5}}, "turn: must have fields of TurnTaking (mode, eagerness"),
        ({"turn": "eager"}, "turn: must be a TurnTaking, got 'eager'"),
        ({"tags": 5}, "tags: must be a list, got 5"),
        ({"tags": [5]}, "tags[0]: must be a text, got 5"),
        ({"variables": []}, "variables: must be an object, got []"),
        ({"variables": {"a": object()}}, "variables.a: must be JSON, got object"),
        ({"variables": {"a": math.inf}}, "variables.a: must be a finite number, got inf"),
        ({"tools": 5}, "tools: must be a list, got 5"),
        ({"tools": ["hang_up"]}, "tools[0]: must be a tool or one of end_call, "),
        ({"tools": [None]}, "tools[0]: must be a tool (a function with @tool"),
        ({"tools": [look_up, look_up]}, "tools[1].name: must be a name of its own"),
        ({"tools": [ClientTool(name="a", response_timeout_secs=500)]}, "tools[0].response_timeout_secs: must be from"),
        ({"tools": [WebhookTool(name="a", url="")]}, "tools[0].url: must have at least 1 characters"),
        ({"tools": [WebhookTool(name="a", url="u", method="HEAD")]}, "tools[0].method: must be GET, "),
        ({"criteria": [EvaluationCriterion(id="a", goal="x" * 2001)]}, "criteria[0].goal: must have at most 2000"),
        ({"criteria": [EvaluationCriterion(id="a", goal="x")] * 2}, "criteria: two criteria have the id 'a'"),
        ({"data_collection": {"a": DataItem(type="date")}}, "data_collection.a.type: must be boolean, string"),
        ({"knowledge": [Knowledge(name="a", usage="never")]}, "knowledge[0].usage: must be prompt or auto"),
        ({"custom_llm": CustomLLM(url="")}, "custom_llm.url: must have at least 1 characters"),
        ({"client_events": ["beep"]}, "client_events[0]: must be conversation_initiation_metadata, "),
        ({"allowed_overrides": ["prompt"]}, "allowed_overrides: 'prompt' is nothing a client can change; known are"),
        ({"extra": {"platform_settings": {"widget": {"variant": "huge"}}}}, "extra.platform_settings.widget.variant"),
    ],
)
def test_a_wrong_value_is_named_in_the_words_of_the_agent(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        Agent(**{"name": "x", **fields})
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 1000


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(InvalidConfigError) as caught:
        Agent(speed=5, stability=7)
    assert [problem.field for problem in caught.value.problems] == ["stability", "speed"]


def test_an_endless_value_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["a"] = loop
    for field in ("variables", "extra"):
        with pytest.raises(InvalidConfigError, match=f"{field}: must not be nested"):
            Agent(**{field: loop})


def test_lists_become_tuples_and_friendly_input_its_own_types() -> None:
    agent = Agent(
        voice="george",
        tags=["a"],
        expected_phrases="yes",
        tools=[look_up, "end_call", {"type": "client", "name": "c"}],
        knowledge=["Returns take 30 days.\nReally.", {"name": "b", "text": "t"}],
        criteria=[{"id": "ok", "goal": "All well?"}],
        data_collection={"mail": "The e-mail address", "age": {"type": "integer"}},
        turn={"mode": "server_vad", "ignore_terms": ["uh"]},
        custom_llm={"url": "https://x"},
        max_tokens=-1,
    )
    assert (agent.voice, agent.tags, agent.expected_phrases, agent.max_tokens) == ("George", ("a",), ("yes",), None)
    assert agent.tools == (look_up, SystemTool(name="end_call"), tool_named_c())
    assert agent.knowledge[0] == Knowledge(name="Returns take 30 days.", text="Returns take 30 days.\nReally.")
    assert agent.criteria[0].name == "ok"
    assert agent.data_collection == {
        "mail": DataItem(description="The e-mail address"),
        "age": DataItem(type="integer"),
    }
    assert agent.turn == TurnTaking(mode="silence", ignore_terms=("uh",))
    assert agent.custom_llm == CustomLLM(url="https://x")
    assert Agent(voice="cjVigY5qzO86Huf0OWal") == Agent()


def tool_named_c() -> ClientTool:
    return ClientTool(name="c", parameters={}, expects_response=False)


def test_a_typed_function_becomes_a_tool() -> None:
    def plain(x: int) -> int:
        """Count."""
        return x

    assert Agent(tools=[plain]).tools[0].description == "Count."
    assert Agent(tools=plain).tools[0].name == "plain"


def test_what_was_given_can_change_without_changing_the_agent() -> None:
    variables = {"a": {"b": [1]}}
    agent = Agent(variables=variables)
    variables["a"]["b"].append(2)
    assert agent.variables == {"a": {"b": [1]}}


def test_a_change_makes_a_new_agent_and_checks_only_what_changed() -> None:
    sam = Agent(name="Sam", llm="offline")
    louder = sam.with_changes(temperature=0.9)
    assert (sam.temperature, louder.temperature) == (0.0, 0.9)
    assert louder.diff(sam) == [Change("temperature", 0.0, 0.9)]
    with pytest.raises(InvalidConfigError, match="speed: must be from"):
        sam.with_changes(speed=9)
    strange = agent_from_wire({"name": "x", "conversation_config": {"tts": {"speed": 9}}})
    assert strange.with_changes(temperature=0.5).speed == 9
    with pytest.raises(InvalidConfigError, match="speed: must be from"):
        strange.check()


def test_an_unknown_field_brings_a_suggestion() -> None:
    with pytest.raises(InvalidConfigError, match="temprature: is no field of an agent: did you mean temperature"):
        Agent().with_changes(temprature=1)


def test_where_it_is_stored_is_no_part_of_what_it_is() -> None:
    stored = Agent(name="a").with_changes(id="agent_1", version=3, created_at=1.0)
    assert stored == Agent(name="a")
    assert stored.diff(Agent(name="a")) == []
    assert stored != Agent(name="b")
    assert stored != "a"


def test_the_platforms_defaults_make_no_difference() -> None:
    agent = Agent(name="a", llm="offline", tools=[look_up, "end_call"])
    stored = agent_from_wire(with_defaults(agent_to_wire(agent)))
    assert stored.extra
    assert stored == agent
    assert stored.diff(agent) == []
    widget = {"platform_settings": {"widget": {"variant": "tiny"}}}
    assert stored.with_changes(extra=widget) != agent


def test_agents_can_be_keys_copied_and_pickled() -> None:
    agent = Agent(name="a", variables={"x": 1}, tools=[SystemTool(name="end_call")])
    assert {agent: 1}[Agent(name="a", variables={"x": 1}, tools=["end_call"])] == 1
    assert pickle.loads(pickle.dumps(agent)) == agent
    assert copy.deepcopy(agent) == agent
    sparse = agent_from_wire({"name": "x"})
    assert agent_to_wire(pickle.loads(pickle.dumps(sparse))) == {"name": "x"}


def test_the_repr_is_short_and_shows_only_what_was_set() -> None:
    assert repr(Agent(name="Sam")) == "Agent(name='Sam')"
    long = repr(Agent(name="Sam", prompt="x" * 10_000, llm="offline"))
    assert long.startswith("Agent(name='Sam', prompt='xxx")
    assert long.endswith("…, llm='offline')")
    assert len(long) < 120


def test_an_agent_shows_itself_as_a_card() -> None:
    assert "Sam" in Agent(name="Sam")._repr_html_()
