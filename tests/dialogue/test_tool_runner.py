"""Running tools: whatever goes wrong goes back to the model, and nothing is raised."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool
from convai_lab.clock import VirtualClock
from convai_lab.conversations.turn import ToolCall, ToolResult
from convai_lab.dialogue.tool_runner import ToolOutcome, ToolRunner
from convai_lab.errors import ToolError, ToolNotAvailableError, ToolTimeoutError

ORDER = {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}


NOBODY = object()


def perform(
    answer: Any,
    tool: ClientTool | None = None,
    arguments: Any = None,
    *,
    variables: Any = None,
    extra: Any = None,
    name: str = "order_status",
) -> ToolOutcome:
    clock = VirtualClock()
    seen: list[ToolCall] = []

    async def client(call: ToolCall, timeout_secs: float) -> ToolResult:
        seen.append(call)
        value = answer(call) if callable(answer) else answer
        if isinstance(value, BaseException):
            raise value
        if asyncio.iscoroutine(value):
            value = await value
        if isinstance(value, ToolResult):
            return value
        return ToolResult(call_id="other", name="other", value=value)

    tool = tool or ClientTool(name="order_status", parameters=ORDER)
    runner = ToolRunner(Agent(tools=(tool,)), client_tool=None if answer is NOBODY else client, clock=clock)
    given = {"order_id": "1"} if arguments is None else arguments
    call = ToolCall(id="c1", name=name, arguments=given, extra=extra or {})

    async def run() -> ToolOutcome:
        outcome = await runner.perform(call, variables=variables or {})
        await runner.close()
        return outcome

    outcome = clock.run(run())
    return outcome._replace(effect=seen)  # type: ignore[arg-type]


def test_a_result_belongs_to_its_call_whatever_the_driver_wrote_into_it() -> None:
    result = perform("shipped").result
    assert (result.call_id, result.name, result.kind, result.value) == ("c1", "order_status", "client", "shipped")
    assert not result.is_error


@pytest.mark.parametrize(
    ("raised", "error_type", "said"),
    [
        (ValueError("no such order"), "refused", "ValueError: no such order"),
        (ZeroDivisionError("boom"), "tool_error", "ZeroDivisionError: boom"),
        (ToolError("no such order", tool="order_status"), "tool_error", "tool order_status: no such order"),
        (ToolNotAvailableError("gone since the restart", tool="order_status"), "tool_not_available", "gone"),
        (ToolTimeoutError("too slow", tool="order_status"), "timeout", "too slow"),
        (TimeoutError(), "timeout", "did not answer in time"),
        (RecursionError("deep"), "tool_error", "deep"),
        (KeyError("x" * 10_000), "refused", "[cut here"),
    ],
)
def test_what_a_tool_raises_goes_back_to_the_model(raised: BaseException, error_type: str, said: str) -> None:
    result = perform(raised).result
    assert (result.is_error, result.error_type) == (True, error_type)
    assert said in result.value
    assert len(result.value) < 2_500


def test_a_key_in_a_tools_error_does_not_reach_the_transcript() -> None:
    key = "sk-ant-" + "a1" * 20
    assert key not in perform(ValueError(f"bad key {key}")).result.value


def test_a_tool_that_does_not_answer_is_a_time_out() -> None:
    tool = ClientTool(name="order_status", parameters=ORDER, response_timeout_secs=3)
    result = perform(lambda call: _never(), tool).result
    assert (result.error_type, result.value) == ("timeout", "order_status did not answer within 3 seconds")
    assert result.latency_secs == 3


async def _never() -> str:
    await asyncio.get_running_loop().create_future()
    return ""


def test_nobody_to_run_a_client_tool_is_an_error_result() -> None:
    result = perform(NOBODY).result
    assert (result.is_error, result.error_type) == (True, "tool_not_available")
    assert "order_status" in result.value


def test_an_unknown_tool_is_an_error_that_lists_the_known_ones() -> None:
    result = perform("x", name="order_statsu").result
    assert result.error_type == "unknown_tool"
    assert "the tools are: order_status" in result.value


def test_arguments_that_are_no_json_go_back(bench: Any) -> None:
    outcome = perform("x", arguments={}, extra={"raw_arguments": '{"order_id": '})
    assert outcome.result.error_type == "bad_arguments"
    assert '{"order_id":' in outcome.result.value
    assert outcome.effect == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "'order_id' is a required property"),
        ({"order_id": 5}, "order_id: 5 is not of type 'string'"),
        ({"order_id": None}, "order_id: None is not of type 'string'"),
        ([1], "not of type 'object'"),
        ({"order_id": {"x": "y" * 5000}}, "[cut here"),
    ],
)
def test_arguments_that_violate_the_schema_go_back_and_name_the_argument(arguments: Any, said: str) -> None:
    outcome = perform("x", arguments=arguments)
    assert outcome.result.error_type == "bad_arguments"
    assert said in outcome.result.value
    assert outcome.effect == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no-such-type"},
        {"type": "object", "properties": {"order_id": {"$ref": "http://169.254.169.254/schema.json"}}},
        {"type": "object", "properties": {"order_id": {"$ref": "#/nowhere"}}},
        {"type": "object", "properties": {"order_id": {"pattern": "("}}},
        {"type": "object", "required": 5},
    ],
)
def test_a_broken_schema_is_told_and_nothing_is_fetched(schema: Any) -> None:
    result = perform("x", ClientTool(name="order_status", parameters=schema)).result
    assert (result.is_error, result.error_type) == (True, "tool_error")


def test_deep_arguments_are_refused() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    schema = {"$defs": {"n": {"items": {"$ref": "#/$defs/n"}}}, "properties": {"order_id": {"$ref": "#/$defs/n"}}}
    result = perform("x", ClientTool(name="order_status", parameters=schema), {"order_id": deep}).result
    assert result.is_error


def test_a_huge_result_is_cut_and_says_so() -> None:
    value = perform("x" * 1_000_000).result.value
    assert len(value) < 20_200
    assert value.endswith("[cut here: the first 20,000 of 1,000,000 characters]")


@pytest.mark.parametrize(
    ("value", "text"), [(None, "null"), ({"a": 1}, '{"a": 1}'), (7, "7"), ("\ud800\x00", "\ufffd\ufffd")]
)
def test_a_result_is_text_whatever_the_driver_gave(value: Any, text: str) -> None:
    assert perform(value).result.value == text


def test_a_result_is_never_filled_with_variables() -> None:
    outcome = perform("{{secret__token}} {{name}}", variables={"name": "Ada", "secret__token": "x"})
    assert outcome.result.value == "{{secret__token}} {{name}}"


def test_a_tool_that_gives_no_answer_is_not_waited_for() -> None:
    tool = ClientTool(name="order_status", parameters=ORDER, expects_response=False)
    outcome = perform(lambda call: _never(), tool)
    assert outcome.result.latency_secs == 0
    assert not outcome.result.is_error
    assert len(outcome.effect) == 1  # type: ignore[arg-type]


def test_a_tool_that_gives_no_answer_and_fails_disturbs_nobody() -> None:
    tool = ClientTool(name="order_status", parameters=ORDER, expects_response=False)
    assert not perform(ValueError("boom"), tool).result.is_error


def test_constants_and_variables_are_put_in_and_the_model_cannot_change_them() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "order_id": {"type": "string"},
            "shop": {"type": "string", "constant_value": "berlin"},
            "customer": {"type": "integer", "dynamic_variable": "customer_id"},
            "left_out": {"type": "string", "is_omitted": True},
            "who": {"type": "object", "properties": {"role": {"type": "string", "constant_value": "user"}}},
        },
        "required": ["order_id", "shop", "customer"],
    }
    tool = ClientTool(name="order_status", parameters=parameters)
    given = {"order_id": "1", "shop": "hacked", "customer": "9", "left_out": "x"}
    outcome = perform("ok", tool, given, variables={"customer_id": "42"})
    assert outcome.effect[0].arguments == {  # type: ignore[index]
        "order_id": "1",
        "shop": "berlin",
        "customer": 42,
        "who": {"role": "user"},
    }


def test_a_variable_that_a_parameter_needs_and_nobody_gave_is_named() -> None:
    parameters = {"type": "object", "properties": {"customer": {"type": "string", "dynamic_variable": "customer_id"}}}
    result = perform("ok", ClientTool(name="order_status", parameters=parameters), {}).result
    assert result.error_type == "missing_variable"
    assert "customer_id" in result.value


def test_assignments_set_variables_from_the_result() -> None:
    assignments = [
        {"dynamic_variable": "city", "value_path": "user.address[0].city"},
        {"dynamic_variable": "age", "value_path": "$.user.age", "preserve_native_type": True},
        {"dynamic_variable": "age_text", "value_path": "user.age"},
        {"dynamic_variable": "token", "value_path": "token", "sanitize": True},
        {"dynamic_variable": "absent", "value_path": "user.nothing"},
        {"dynamic_variable": "system__time", "value_path": "user.age"},
    ]
    tool = ClientTool(name="order_status", parameters=ORDER, extra={"assignments": assignments})
    document = {"user": {"age": 41, "address": [{"city": "Berlin"}]}, "token": "abc123", "pad": "x" * 30_000}
    outcome = perform(json.dumps(document), tool)
    assert outcome.variables == {"city": "Berlin", "age": 41, "age_text": "41", "token": "abc123"}
    assert "abc123" not in outcome.result.value
    assert len(outcome.result.value) < 20_200


@pytest.mark.parametrize("value", ["no json", "[" * 100_000, '{"a": 1}', "null", ""])
def test_assignments_from_a_result_that_does_not_fit_set_nothing(value: str) -> None:
    tool = ClientTool(
        name="order_status",
        parameters=ORDER,
        extra={"assignments": [{"dynamic_variable": "x", "value_path": "user.age"}]},
    )
    assert perform(value, tool).variables == {}


def test_an_error_result_of_the_driver_sets_no_variables_and_keeps_its_kind_of_error() -> None:
    tool = ClientTool(
        name="order_status", parameters=ORDER, extra={"assignments": [{"dynamic_variable": "x", "value_path": "a"}]}
    )
    answered = ToolResult(call_id="?", name="?", value='{"a": 1}', is_error=True)
    outcome = perform(answered, tool)
    assert outcome.variables == {}
    assert outcome.result.error_type == "tool_error"


def test_assigned_variables_reach_the_record_and_the_next_prompt(bench: Any, order_status: ClientTool) -> None:
    from dataclasses import replace

    from convai_lab.testing.fake_llm import call

    assignments = [{"dynamic_variable": "city", "value_path": "city"}]
    tool = replace(order_status, extra={"assignments": assignments})
    agent = Agent(prompt="The user lives in {{city}}.", variables={"city": "nowhere yet"}, tools=(tool,))
    loop = bench.loop([call("order_status", order_id="1"), "Ok."], agent=agent, tool=lambda c: '{"city": "{{city}}!"}')
    bench.exchange(loop, "Hi")
    assert loop.conversation.variables == {"city": "{{city}}!"}
    assert bench.recorder.headers[-1].variables == {"city": "{{city}}!"}
    prompts = [request.messages[0].content for request in bench.llm.requests]
    assert prompts == ["The user lives in nowhere yet.", "The user lives in {{city}}!."]


def test_the_model_sees_only_what_it_fills() -> None:
    parameters = {
        "type": "object",
        "property_kind": "object",
        "properties": {
            "size": {
                "type": "string",
                "enum": None,
                "allowed_values": {"dynamic_variable": "sizes"},
                "description": "",
            },
            "constant_value": {"type": "string", "dynamic_variable": ""},
            "shop": {"type": "string", "constant_value": "berlin"},
        },
        "required": ["size", "shop"],
    }
    tool = ClientTool(name="order_status", parameters=parameters)
    (spec,) = ToolRunner(Agent(tools=(tool,)), clock=VirtualClock()).toolbox.specs({"sizes": "S, M"})
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "size": {"type": "string", "description": "", "enum": ["S", "M"]},
            "constant_value": {"type": "string"},
        },
        "required": ["size"],
    }
