"""An agent travels to the platform's JSON and back, and nothing is lost on either way."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convai_lab.agents.agent import (
    DEFAULT_CLIENT_EVENTS,
    Agent,
    CustomLLM,
    DataItem,
    EvaluationCriterion,
    Knowledge,
)
from convai_lab.agents.tools import ClientTool, SystemTool, WebhookTool, tool
from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.agents.voices import VOICES
from convai_lab.agents.wire_format import agent_from_wire, agent_to_wire, tool_from_wire, tool_to_wire
from convai_lab.agents.wire_parts import override_paths
from convai_lab.agents.wire_rules import problems_in, with_defaults
from convai_lab.errors import InvalidConfigError, NotSupportedError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WORD = st.text("abcdefghij_- ", min_size=1, max_size=8).filter(str.strip)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
UNKNOWN = st.dictionaries(st.sampled_from(["new_a", "new_b"]), JSON, max_size=2)
SCHEMA = st.just({}) | st.dictionaries(WORD, st.just({"type": "string", "description": "x"}), max_size=2).map(
    lambda properties: {"type": "object", "properties": properties, "required": []}
)
CLIENT = st.builds(
    ClientTool,
    name=WORD,
    description=TEXT,
    parameters=SCHEMA,
    response_timeout_secs=st.floats(1, 120),
    expects_response=st.booleans(),
    extra=UNKNOWN,
)
WEBHOOK = st.builds(
    WebhookTool,
    name=WORD,
    url=WORD,
    method=st.sampled_from(["GET", "post", "PUT"]),
    query_schema=SCHEMA,
    body_schema=SCHEMA,
    headers=st.dictionaries(WORD, TEXT, max_size=2),
    response_timeout_secs=st.floats(5, 300),
    extra=UNKNOWN,
)
SYSTEM = st.builds(
    SystemTool,
    name=st.sampled_from(["end_call", "skip_turn", "hang_up", "knowledge_base"]),
    description=TEXT,
    params=st.just({}) | st.just({"system_tool_type": "end_call"}) | st.just({"transfers": []}),
    extra=UNKNOWN,
)
TURN = st.builds(
    TurnTaking,
    mode=st.sampled_from(["silence", "turn", "server_vad"]),
    eagerness=st.sampled_from(["patient", "normal", "eager"]),
    timeout_secs=st.floats(0, 60),
    initial_wait_secs=st.none() | st.floats(0, 9),
    silence_end_call_secs=st.none() | st.floats(0, 90),
    soft_timeout_secs=st.none() | st.floats(0, 9),
    soft_timeout_message=WORD,
    speculative=st.booleans(),
    first_message_interruptible=st.booleans(),
    ignore_terms=st.lists(WORD, max_size=2),
)
WORDS = st.lists(WORD, max_size=3, unique=True).map(tuple)
AGENTS = st.builds(
    Agent,
    name=WORD,
    prompt=TEXT,
    first_message=TEXT,
    language=st.sampled_from(["en", "de"]),
    llm=st.none() | WORD,
    temperature=st.floats(0, 2),
    max_tokens=st.none() | st.integers(0, 1000),
    reasoning_effort=st.none() | st.sampled_from(["low", "high"]),
    thinking_budget=st.none() | st.integers(0, 1000),
    custom_llm=st.none()
    | st.builds(
        CustomLLM,
        url=WORD,
        model=TEXT,
        api_key_variable=st.none() | WORD,
        headers=st.dictionaries(WORD, TEXT, max_size=2),
        extra=UNKNOWN,
    ),
    voice=st.sampled_from([*VOICES, "abcdefghij0123456789", VOICES["George"], "george"]),
    stability=st.floats(0, 1),
    similarity_boost=st.floats(0, 1),
    speed=st.floats(0.7, 1.2),
    asr_keywords=WORDS,
    expected_phrases=WORDS,
    asr=st.none() | WORD,
    tts=st.none() | st.just("http://127.0.0.1:8000/v1#tts-1"),
    input_audio_format=st.sampled_from(["pcm_16000", "ulaw_8000"]),
    output_audio_format=st.sampled_from(["pcm_16000", "ulaw_8000"]),
    turn=TURN,
    text_only=st.booleans(),
    max_duration_secs=st.integers(1, 9000),
    timezone=st.none() | st.just("UTC"),
    tools=st.lists(CLIENT | WEBHOOK | SYSTEM, max_size=3, unique_by=lambda one: one.name),
    tool_ids=WORDS,
    knowledge=st.lists(
        st.builds(
            Knowledge,
            name=TEXT,
            text=TEXT,
            id=TEXT,
            kind=st.sampled_from(["text", "file", "url"]),
            usage=st.sampled_from(["auto", "prompt"]),
            extra=UNKNOWN,
        ),
        max_size=2,
    ),
    variables=st.dictionaries(WORD, JSON, max_size=2),
    criteria=st.lists(
        st.builds(EvaluationCriterion, id=WORD, goal=TEXT, name=TEXT, extra=UNKNOWN),
        max_size=2,
        unique_by=lambda one: one.id,
    ),
    data_collection=st.dictionaries(
        WORD,
        st.builds(DataItem, type=st.sampled_from(["string", "number"]), description=TEXT, extra=UNKNOWN),
        max_size=2,
    ),
    client_events=st.none() | st.just(DEFAULT_CLIENT_EVENTS) | st.just(("audio",)) | st.just(()),
    allowed_overrides=st.lists(st.sampled_from(override_paths()), unique=True, max_size=3).map(
        lambda chosen: tuple(path for path in override_paths() if path in chosen)
    ),
    enable_auth=st.booleans(),
    allowed_origins=WORDS,
    tags=WORDS,
    extra=UNKNOWN | st.builds(lambda u: {"conversation_config": {"tts": {"new": u}}}, UNKNOWN),
)
UNHURRIED = settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@UNHURRIED
@given(AGENTS)
def test_every_agent_comes_back_from_the_wire_as_it_was(agent: Agent) -> None:
    body = json.loads(json.dumps(agent_to_wire(agent)))
    back = agent_from_wire(body)
    assert back == agent
    assert back.diff(agent) == []
    assert agent_to_wire(back) == body


@UNHURRIED
@given(AGENTS)
def test_an_agent_is_the_same_after_the_platform_filled_in_its_defaults(agent: Agent) -> None:
    agent = agent.with_changes(llm="offline", client_events=("audio",))
    body = agent_to_wire(agent)
    assert problems_in(body) == []
    stored = with_defaults(json.loads(json.dumps(body)))
    assert agent_from_wire(stored).diff(agent) == []


def test_nothing_of_a_full_document_is_lost(full_document: dict[str, Any]) -> None:
    before = copy.deepcopy(full_document)
    assert agent_to_wire(agent_from_wire(full_document)) == before
    assert full_document == before


def test_unknown_keys_at_every_level_survive(strange_document: dict[str, Any]) -> None:
    before = copy.deepcopy(strange_document)
    again = agent_to_wire(agent_from_wire(strange_document))
    assert _lost(before, again) == []


def test_a_change_is_written_over_the_rest(strange_document: dict[str, Any]) -> None:
    agent = agent_from_wire(strange_document).with_changes(speed=0.9, tools=(), turn={"mode": "turn"})
    body = agent_to_wire(agent)
    assert body["conversation_config"]["tts"]["speed"] == 0.9
    assert body["conversation_config"]["tts"]["new_on_the_platform"] == {"deep": [1, None]}
    assert body["conversation_config"]["agent"]["prompt"]["tools"] == []
    assert body["conversation_config"]["agent"]["prompt"]["built_in_tools"]["end_call"] is None
    assert body["workflow"] == strange_document["workflow"]


def test_a_sparse_document_stays_sparse_until_a_field_changes() -> None:
    sparse = {"name": "x", "conversation_config": {"agent": {"prompt": {"prompt": "p"}}, "tts": {}}, "new": None}
    agent = agent_from_wire(sparse)
    assert agent_to_wire(agent) == sparse
    changed = agent_to_wire(agent.with_changes(speed=1.1))
    assert changed == {**sparse, "conversation_config": {**sparse["conversation_config"], "tts": {"speed": 1.1}}}


def test_null_where_an_object_belongs_counts_as_absent() -> None:
    agent = agent_from_wire(
        {"name": "x", "conversation_config": {"tts": None, "turn": None}, "platform_settings": None}
    )
    assert agent.speed == 1.0
    assert agent_to_wire(agent)["conversation_config"]["tts"] is None


def test_where_an_agent_is_stored_is_read_but_not_part_of_it(full_document: dict[str, Any]) -> None:
    plain = agent_from_wire(full_document)
    metadata = {"created_at_unix_secs": 1, "updated_at_unix_secs": 2, "version": 3}
    where = {"agent_id": "agent_1", "version_id": "v1", "metadata": metadata, "phone_numbers": [], "access_info": None}
    stored = agent_from_wire({**full_document, **where})
    assert (stored.id, stored.version_id, stored.version, stored.created_at, stored.updated_at) == (
        "agent_1",
        "v1",
        3,
        1,
        2,
    )
    assert stored == plain
    assert not where.keys() & agent_to_wire(stored).keys()


def test_a_new_agent_asks_for_what_our_own_clients_need() -> None:
    body = agent_to_wire(Agent(name="x"))
    overrides = body["platform_settings"]["overrides"]["conversation_config_override"]
    assert overrides["conversation"]["text_only"] is True
    assert overrides["agent"]["prompt"]["prompt"] is False
    events = body["conversation_config"]["conversation"]["client_events"]
    assert {"agent_chat_response_part", "agent_tool_request", "agent_tool_response", "agent_response"} <= set(events)
    assert "llm" not in body["conversation_config"]["agent"]["prompt"]


def test_a_system_tool_stands_in_both_places_and_comes_back_once() -> None:
    agent = Agent(tools=["end_call", SystemTool(name="hang_up", params={"system_tool_type": "end_call"})])
    prompt = agent_to_wire(agent)["conversation_config"]["agent"]["prompt"]
    assert [config["name"] for config in prompt["tools"]] == ["end_call", "hang_up"]
    assert prompt["built_in_tools"]["end_call"]["name"] == "end_call"
    assert agent_from_wire(with_defaults(agent_to_wire(agent))).tools == agent.tools


def test_a_system_tool_only_in_its_own_place_is_found() -> None:
    built_in = {"end_call": {"description": "Hang up.", "params": {"system_tool_type": "end_call"}}, "skip_turn": None}
    agent = agent_from_wire({"conversation_config": {"agent": {"prompt": {"built_in_tools": built_in}}}})
    assert agent.tools == (SystemTool(name="end_call", description="Hang up."),)


def test_tools_that_only_the_platform_can_run_are_kept() -> None:
    mcp = {"type": "mcp", "name": "m", "mcp_server_id": "s"}
    body = {"conversation_config": {"agent": {"prompt": {"tools": [mcp, {"type": "client", "name": "c"}]}}}}
    agent = agent_from_wire(body)
    assert [one.name for one in agent.tools] == ["c"]
    assert mcp in agent_to_wire(agent)["conversation_config"]["agent"]["prompt"]["tools"]


def test_the_cloud_never_gets_both_tools_and_tool_ids() -> None:
    @tool
    def look(x: str) -> str:
        """Look."""
        return x

    agent = Agent(tools=[look, "end_call"], tool_ids=("tool_1",), expected_phrases=["hi"])
    prompt = agent_to_wire(agent, cloud=True)["conversation_config"]["agent"]["prompt"]
    assert "tools" not in prompt
    assert prompt["tool_ids"] == ["tool_1"]
    assert prompt["built_in_tools"]["end_call"]["name"] == "end_call"
    inline = agent_to_wire(agent.with_changes(tool_ids=()), cloud=True)
    assert [one["name"] for one in inline["conversation_config"]["agent"]["prompt"]["tools"]] == ["look"]
    assert "tool_ids" not in inline["conversation_config"]["agent"]["prompt"]
    assert "convai_lab" not in inline
    both = agent_to_wire(agent)["conversation_config"]["agent"]["prompt"]
    assert both["tools"]
    assert both["tool_ids"]


def test_knowledge_without_an_id_is_refused_for_the_cloud() -> None:
    agent = Agent(knowledge=["Returns take 30 days."])
    with pytest.raises(NotSupportedError, match="has no id"):
        agent_to_wire(agent, cloud=True)
    uploaded = agent.with_changes(knowledge=[Knowledge(name="faq", id="doc_1", text="long")])
    entry = agent_to_wire(uploaded, cloud=True)["conversation_config"]["agent"]["prompt"]["knowledge_base"][0]
    assert entry == {"type": "text", "name": "faq", "id": "doc_1", "usage_mode": "auto"}


def test_an_older_request_is_read_too() -> None:
    webhook = {"type": "webhook", "name": "w", "webhook": {"url": "https://x", "method": "post"}}
    body = {"name": "Old", "prompt": {"prompt": "p", "llm": "gpt-4-turbo", "tools": [webhook]}}
    body["conversation_config"] = {"turn": {"mode": "server_vad"}}
    agent = agent_from_wire(body)
    assert (agent.prompt, agent.llm, agent.turn.mode) == ("p", "gpt-4-turbo", "silence")
    assert agent.tools == (WebhookTool(name="w", url="https://x", method="POST"),)


@pytest.mark.parametrize(
    "doc",
    [
        None,
        [],
        "text",
        {"conversation_config": []},
        {"conversation_config": {"tts": "fast"}},
        {"conversation_config": {"tts": {"speed": "fast"}}},
        {"conversation_config": {"tts": {"speed": True}}},
        {"tags": "a"},
        {"tags": [1]},
        {"name": 5},
        {"conversation_config": {"agent": {"prompt": {"tools": {}}}}},
        {"conversation_config": {"agent": {"prompt": {"tools": ["x"]}}}},
        {"conversation_config": {"agent": {"prompt": {"tools": [{"type": "client"}]}}}},
        {"conversation_config": {"agent": {"prompt": {"knowledge_base": [1]}}}},
        {"conversation_config": {"agent": {"prompt": {"custom_llm": "x"}}}},
        {"platform_settings": {"data_collection": {"a": 1}}},
        {"platform_settings": {"evaluation": {"criteria": [{"id": 1}]}}},
        {"platform_settings": {"auth": {"allowlist": ["x"]}}},
        {"platform_settings": {"overrides": {"conversation_config_override": []}}},
        {"convai_lab": {"expected_phrases": "x"}},
    ],
)
def test_a_document_of_the_wrong_shape_is_one_clear_error(doc: Any) -> None:
    with pytest.raises(InvalidConfigError, match=r"must be|is required"):
        agent_from_wire(doc)


def test_words_that_a_newer_platform_knows_are_taken_as_they_are() -> None:
    agent = agent_from_wire({"conversation_config": {"tts": {"model_id": "eleven_v9", "speed": 3.0, "voice_id": "x"}}})
    assert (agent.tts_model, agent.speed, agent.voice) == ("eleven_v9", 3.0, "x")
    assert agent.with_changes(temperature=0.5).tts_model == "eleven_v9"


@pytest.mark.parametrize(
    "one",
    [
        ClientTool(name="Weather API", parameters={}),
        WebhookTool(name="w", url="u", headers={"a": {"secret_id": "s"}}, extra={"api_schema": {"new": 1}}),
        SystemTool(name="end_call"),
    ],
)
def test_a_tool_comes_back_from_the_wire_as_it_was(one: ClientTool | WebhookTool | SystemTool) -> None:
    assert tool_from_wire(json.loads(json.dumps(tool_to_wire(one)))) == one


def test_a_tool_of_an_unknown_type_is_refused_in_words() -> None:
    with pytest.raises(InvalidConfigError, match="must be one of client, webhook, system, got 'mcp'"):
        tool_from_wire({"type": "mcp", "name": "x"})


def _lost(before: Any, after: Any, path: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        return [p for key, inner in before.items() for p in _lost(inner, after.get(key, "MISSING"), f"{path}.{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [p for i, inner in enumerate(before) for p in _lost(inner, after[i], f"{path}[{i}]")]
    return [] if before == after else [f"{path}: {before!r} became {after!r}"]
