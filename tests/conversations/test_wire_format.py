"""A conversation goes to the platform's JSON and back, either way round, and nothing is lost."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convai_lab.conversations.conversation import Analysis, Conversation, CriterionResult
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn, TurnMetrics
from convai_lab.conversations.wire_format import (
    conversation_from_wire,
    conversation_to_wire,
    summary_to_wire,
    turn_from_wire,
    turn_to_wire,
)
from convai_lab.conversations.wire_table import covers
from convai_lab.errors import InvalidValueError

texts = st.text(max_size=12)
maybe_text = st.none() | texts
real = st.floats(allow_nan=False, allow_infinity=False)
maybe_real = st.none() | real | st.integers(-(2**70), 2**70)
count = st.none() | st.integers(0, 10**6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | real | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
unknown = st.dictionaries(texts.map(lambda text: "x_" + text), json_values, max_size=2)
objects = st.dictionaries(texts, json_values, max_size=3)
kinds = st.sampled_from(["client", "webhook", "system", "mcp"])

calls = st.builds(ToolCall, id=texts, name=texts, arguments=objects, kind=kinds, extra=unknown)
results = st.builds(
    ToolResult,
    call_id=texts,
    name=texts,
    value=texts,
    is_error=st.booleans(),
    kind=kinds,
    latency_secs=maybe_real,
    error_type=maybe_text,
    extra=unknown,
)
metrics = st.builds(
    TurnMetrics,
    **{name: maybe_real for name in TurnMetrics.__dataclass_fields__ if name.endswith("_ms") or name == "cost_usd"},
    input_tokens=count,
    output_tokens=count,
    cached_tokens=count,
    cost_is_estimate=st.none() | st.booleans(),
)
turns = st.builds(
    Turn,
    role=st.sampled_from(["user", "agent"]),
    text=texts,
    text_heard=maybe_text,
    started_at=maybe_real,
    start_secs=maybe_real,
    end_secs=maybe_real,
    interrupted=st.booleans(),
    interrupted_at_secs=maybe_real,
    agent_id=maybe_text,
    agent_version=st.none() | st.integers(),
    prompt_hash=maybe_text,
    llm_requested=maybe_text,
    llm_served=maybe_text,
    asr_engine=maybe_text,
    asr_confidence=maybe_real,
    tts_engine=maybe_text,
    voice=maybe_text,
    tool_calls=st.lists(calls, max_size=2).map(tuple),
    tool_results=st.lists(results, max_size=2).map(tuple),
    metrics=metrics,
    finish_reason=maybe_text,
    error=maybe_text,
    marks=st.lists(texts, max_size=2).map(tuple),
    extra=unknown,
)
criteria = st.dictionaries(
    texts, st.builds(CriterionResult, value=json_values, rationale=maybe_text, extra=unknown), max_size=2
)
analyses = st.builds(
    Analysis,
    success=st.sampled_from([None, "success", "failure", "unknown"]),
    summary=maybe_text,
    criteria=criteria,
    data=criteria,
    extra=unknown,
)
conversations = st.builds(
    Conversation,
    id=texts,
    agent_id=texts,
    agent_name=maybe_text,
    first_version=st.none() | st.integers(),
    last_version=st.none() | st.integers(),
    platform=texts,
    channel=st.sampled_from(["text", "voice", "phone"]),
    source=st.sampled_from(["live", "simulated", "replay", "import"]),
    status=st.sampled_from(["initiated", "in-progress", "processing", "done", "failed"]),
    scenario=maybe_text,
    variant=maybe_text,
    seed=st.none() | st.integers(),
    started_at=maybe_real,
    duration_secs=maybe_real,
    end_reason=maybe_text,
    ended_by=maybe_text,
    turns=st.lists(turns, max_size=2).map(tuple),
    variables=objects,
    tags=st.lists(texts, max_size=2).map(tuple),
    language=maybe_text,
    has_audio=st.booleans(),
    audio_problem=maybe_text,
    parent_id=maybe_text,
    cassette=maybe_text,
    user_id=maybe_text,
    analysis=analyses,
    extra=unknown,
)


@settings(max_examples=80, deadline=None)
@given(conversations)
def test_a_conversation_comes_back_equal_from_its_json(conversation: Conversation) -> None:
    document = json.loads(json.dumps(conversation_to_wire(conversation)))
    assert conversation_from_wire(document) == conversation
    assert conversation_to_wire(conversation_from_wire(document)) == document


@settings(max_examples=80, deadline=None)
@given(turns)
def test_a_turn_comes_back_equal_from_its_json(turn: Turn) -> None:
    assert turn_from_wire(json.loads(json.dumps(turn_to_wire(turn)))) == turn


def test_a_document_of_the_platform_keeps_every_key_and_value(platform_document: dict[str, Any]) -> None:
    before = copy.deepcopy(platform_document)
    written = conversation_to_wire(conversation_from_wire(platform_document, platform="elevenlabs"))
    assert platform_document == before
    assert covers(written, platform_document)


def test_what_a_document_of_the_platform_says_is_understood(platform_document: dict[str, Any]) -> None:
    c = conversation_from_wire(platform_document, platform="elevenlabs")
    assert (c.id, c.agent_name, c.platform, c.channel, c.language) == (
        "conv_4101",
        "Support",
        "elevenlabs",
        "phone",
        "de",
    )
    assert (c.started_at, c.duration_secs, c.end_reason) == (1_767_225_600.0, 47.0, "Client ended call")
    assert (c.tags, c.variables["name"], c.has_audio) == (("vip", "refund"), "Ada", True)
    assert c.analysis.success == "success"
    assert c.analysis.criteria["polite"].value == "success"
    assert c.analysis.data["order"].value == 1234
    assert c[0].tts_engine == "eleven_flash_v2"
    assert c[1].asr_engine == "scribe_realtime"
    answer = c[2]
    assert (answer.text, answer.text_heard) == ("It has shipped and arrives tomorrow.", "It has shipped and...")
    assert (answer.llm_served, answer.agent_id, answer.interrupted) == ("gemini-2.5-flash", "agent_0801", True)
    assert answer.tool_calls[0].arguments == {"order_id": "1234", "deep": {"a": [1, None]}}
    assert (answer.tool_calls[1].kind, answer.tool_calls[1].arguments) == ("system", {})
    assert answer.tool_results[1].error_type == "timeout"
    m = answer.metrics
    assert (m.llm_ttft_ms, m.tts_ttfb_ms, m.llm_total_ms) == (412.0, 200.0, None)
    assert (m.input_tokens, m.cached_tokens, m.output_tokens) == (1010, 100, 61)
    assert m.cost_usd == pytest.approx(0.30051)


def test_nothing_known_stays_among_the_unknown(platform_document: dict[str, Any]) -> None:
    c = conversation_from_wire(platform_document)
    assert c.extra["brand_new"] == {"nested": [1, 2.5, None, True]}
    assert not {"status", "transcript", "agent_id", "tag_ids", "has_audio", "analysis"} & set(c.extra)
    assert c[2].extra["conversation_turn_metrics"] == {
        "metrics": {
            "convai_llm_service_ttfb": {"brand_new": 1},
            "convai_llm_service_ttf_sentence": {"elapsed_time": 0.9},
        },
        "convai_asr_provider": None,
    }
    assert c[2].tool_calls[1].extra["params_as_json"] == "not json {"


def test_a_field_that_was_changed_wins_over_how_the_platform_spelled_it(platform_document: dict[str, Any]) -> None:
    platform_document["transcript"][1]["message"] = ""
    c = conversation_from_wire(platform_document)
    changed = c.with_changes(
        status="failed",
        turns=(c[1].with_changes(text="hello"), c[2].with_changes(metrics=TurnMetrics(output_tokens=5))),
    )
    document = conversation_to_wire(changed)
    assert document["status"] == "failed"
    assert document["transcript"][0]["message"] == "hello"
    assert document["transcript"][1]["llm_usage"]["model_usage"] == {
        "gemini-2.5-flash": {"output_total": {"tokens": 5}}
    }
    assert conversation_from_wire(document)[1].metrics == TurnMetrics(output_tokens=5)


REQUIRED = ("agent_id", "conversation_id", "status", "has_audio", "has_user_audio", "has_response_audio")
REQUIRED_TOO = ("has_auxiliary_audio", "transcript", "metadata")


def test_every_required_key_is_written_even_for_an_empty_conversation() -> None:
    document = conversation_to_wire(Conversation(id="c", agent_id="a", analysis=Analysis(summary="s")))
    assert all(key in document for key in REQUIRED + REQUIRED_TOO)
    assert {"start_time_unix_secs", "call_duration_secs", "cost_fiat"} <= set(document["metadata"])
    assert {"call_successful", "transcript_summary"} <= set(document["analysis"])
    turn = conversation_to_wire(Conversation(id="c", agent_id="a", turns=(Turn(role="user"),)))["transcript"][0]
    assert {"role", "time_in_call_secs"} <= set(turn)
    assert isinstance(turn["time_in_call_secs"], int)


def test_tool_calls_and_results_have_every_required_key() -> None:
    turn = Turn(
        role="agent", tool_calls=(ToolCall(id="1", name="t"),), tool_results=(ToolResult(call_id="1", name="t"),)
    )
    document = turn_to_wire(turn)
    assert {"request_id", "tool_name", "params_as_json", "tool_has_been_called"} <= set(document["tool_calls"][0])
    wanted = {"request_id", "tool_name", "result_value", "is_error", "tool_has_been_called"}
    assert wanted <= set(document["tool_results"][0])


def test_times_and_tokens_are_written_as_the_platform_counts_them() -> None:
    m = TurnMetrics(llm_ttft_ms=412.0, tts_ttfb_ms=90.5, tool_ms=7.0, input_tokens=100, cached_tokens=40, cost_usd=0.5)
    document = turn_to_wire(Turn(role="agent", llm_served="gpt-4o", metrics=m))
    assert document["conversation_turn_metrics"]["metrics"] == {
        "convai_llm_service_ttfb": {"elapsed_time": 0.412},
        "convai_tts_service_ttfb": {"elapsed_time": 0.0905},
    }
    usage = document["llm_usage"]["model_usage"]["gpt-4o"]
    assert (usage["input"], usage["input_cache_read"]) == ({"tokens": 60}, {"tokens": 40})
    assert document["convai_lab"]["tool_ms"] == 7.0


def test_what_was_not_measured_is_left_out_and_never_0() -> None:
    document = turn_to_wire(Turn(role="agent"))
    assert "conversation_turn_metrics" not in document
    assert document["llm_usage"] is None
    assert turn_from_wire(document).metrics == TurnMetrics()
    assert turn_from_wire({"role": "agent", "time_in_call_secs": 3}).metrics == TurnMetrics()


def test_the_cost_of_a_conversation_is_unknown_as_soon_as_one_answer_does_not_say() -> None:
    paid = Turn(role="agent", llm_served="m", metrics=TurnMetrics(cost_usd=0.25))
    c = Conversation(id="c", agent_id="a", turns=(Turn(role="user"), paid, paid))
    assert conversation_to_wire(c)["metadata"]["cost_fiat"] == c.cost_usd == 0.5
    unknown_too = c.with_changes(turns=(*c.turns, Turn(role="agent", llm_served="m")))
    assert conversation_to_wire(unknown_too)["metadata"]["cost_fiat"] is unknown_too.cost_usd is None


def test_a_number_that_is_none_does_not_break_the_json() -> None:
    bad = float("nan")
    turn = Turn(role="agent", start_secs=float("inf"), metrics=TurnMetrics(llm_ttft_ms=bad, cost_usd=bad))
    assert turn_to_wire(turn)["time_in_call_secs"] == 0


def test_a_row_of_the_list_has_every_required_key(platform_document: dict[str, Any]) -> None:
    row = summary_to_wire(conversation_from_wire(platform_document, platform="elevenlabs"))
    assert {name: row[name] for name in ("agent_id", "conversation_id", "message_count", "status", "direction")} == {
        "agent_id": "agent_0801",
        "conversation_id": "conv_4101",
        "message_count": 3,
        "status": "done",
        "direction": "inbound",
    }
    assert row["tool_names"] == ["order_status", "odd"]
    assert (row["start_time_unix_secs"], row["call_duration_secs"], row["rating"]) == (1_767_225_600, 47, 4)
    assert (row["call_successful"], row["call_summary_title"]) == ("success", "Order")


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        inner: Any = document
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in parents:
            inner = inner[part]
        inner[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("transcript", None),
        ("transcript", {}),
        ("transcript", "text"),
        ("conversation_id", None),
        ("conversation_id", 7),
        ("agent_id", ["a"]),
        ("status", "finished"),
        ("status", 3),
        ("metadata", []),
        ("metadata.start_time_unix_secs", "yesterday"),
        ("metadata.call_duration_secs", True),
        ("metadata.text_only", "yes"),
        ("tag_ids", "vip"),
        ("tag_ids", [1]),
        ("analysis", "good"),
        ("analysis.call_successful", "maybe"),
        ("analysis.evaluation_criteria_results", []),
        ("analysis.evaluation_criteria_results.polite", "success"),
        ("transcript.0", None),
        ("transcript.0", "hello"),
        ("transcript.1.role", None),
        ("transcript.1.role", "system"),
        ("transcript.1.message", 5),
        ("transcript.1.time_in_call_secs", "3"),
        ("transcript.1.time_in_call_secs", float("nan")),
        ("transcript.2.interrupted", "no"),
        ("transcript.2.tool_calls", {}),
        ("transcript.2.tool_calls.0", 1),
        ("transcript.2.tool_calls.0.params_as_json", {"a": 1}),
        ("transcript.2.tool_results.1.is_error", 1),
        ("transcript.2.conversation_turn_metrics", 5),
        ("transcript.2.conversation_turn_metrics.metrics.convai_llm_service_ttfb.elapsed_time", "fast"),
        ("transcript.2.llm_usage.model_usage", []),
        ("transcript.2.llm_usage.model_usage.gpt-4o-mini.input.tokens", "many"),
        ("convai_lab", []),
        ("convai_lab", {"source": "dream"}),
        ("convai_lab", {"seed": 1.5}),
    ],
)
def test_a_malformed_document_is_refused_with_the_path_of_the_field(
    platform_document: dict[str, Any], path: str, value: Any
) -> None:
    put(path, value)(platform_document)
    with pytest.raises(InvalidValueError) as caught:
        conversation_from_wire(platform_document)
    assert caught.value.field.startswith(path)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("key", ["transcript", "conversation_id", "agent_id"])
def test_a_document_without_its_essentials_is_refused(platform_document: dict[str, Any], key: str) -> None:
    del platform_document[key]
    with pytest.raises(InvalidValueError, match=f"{key}: is missing"):
        conversation_from_wire(platform_document)


@pytest.mark.parametrize("document", [None, [], "text", 7, {}])
def test_what_is_no_document_is_refused(document: Any) -> None:
    with pytest.raises(InvalidValueError):
        conversation_from_wire(document)


def test_a_document_nested_without_end_is_refused_in_words(platform_document: dict[str, Any]) -> None:
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]
    platform_document["brand_new"] = deep
    with pytest.raises(InvalidValueError, match="nested too deeply"):
        conversation_from_wire(platform_document)


def test_what_is_merely_absent_or_null_is_unknown() -> None:
    bare = {"conversation_id": "c", "agent_id": "a", "transcript": [{"role": "user", "message": None}]}
    c = conversation_from_wire({**bare, "metadata": None, "analysis": None, "tag_ids": None})
    assert c.with_changes(extra={}) == conversation_from_wire(bare)
    assert (c.started_at, c.duration_secs, c.cost_usd, c.analysis.success) == (None, None, None, None)
    assert c[0] == Turn(role="user")


def test_reading_shares_no_default_between_conversations() -> None:
    bare = {"conversation_id": "c", "agent_id": "a", "transcript": []}
    first, second = conversation_from_wire(bare), conversation_from_wire(bare)
    first.variables["leak"] = 1  # type: ignore[index]
    assert second.variables == {}
    assert conversation_from_wire(bare).variables == {}


def test_what_is_written_shares_nothing_with_the_conversation() -> None:
    call = ToolCall(id="1", name="look", arguments={"at": [float("nan")]}, extra={"deep": {"list": [1]}})
    turn = Turn(role="agent", text="Hi", tool_calls=(call,), extra={"own": {"list": [1]}}, marks=("a",))
    said = Conversation(id="c", agent_id="a", turns=(turn,), variables={"names": ["Ada"]})

    def emptied(value: Any) -> None:
        for inner in list(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()):
            emptied(inner)
        if isinstance(value, dict | list):
            value.clear()

    emptied(conversation_to_wire(said))
    assert (call.arguments.keys(), call.extra) == ({"at"}, {"deep": {"list": [1]}})
    assert len(call.arguments["at"]) == 1
    assert (turn.extra, said.variables) == ({"own": {"list": [1]}}, {"names": ["Ada"]})
    assert conversation_to_wire(said)["transcript"][0]["message"] == "Hi"
