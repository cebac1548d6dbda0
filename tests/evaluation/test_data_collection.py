"""Values are collected in their types; what does not fit is asked again and never kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convai_lab.agents.agent import DataItem
from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.data_collection import parse_items, problem_with
from convai_lab.evaluation.judge import Judge
from convai_lab.testing.fake_llm import FakeLLM, Reply

SIZES = DataItem(type="string", extra={"enum": ["S", "M"]})


@pytest.mark.parametrize(
    ("item", "value", "fits"),
    [
        (DataItem(type="string"), "x", True),
        (DataItem(type="string"), 1, False),
        (DataItem(type="string"), "x" * 10_001, False),
        (DataItem(type="integer"), 4, True),
        (DataItem(type="integer"), 4.0, True),
        (DataItem(type="integer"), 4.5, False),
        (DataItem(type="integer"), True, False),
        (DataItem(type="integer"), "4", False),
        (DataItem(type="number"), 4.5, True),
        (DataItem(type="number"), False, False),
        (DataItem(type="boolean"), False, True),
        (DataItem(type="boolean"), 0, False),
        (DataItem(type="boolean"), "yes", False),
        (DataItem(type="string"), ["x"], False),
        (SIZES, "M", True),
        (SIZES, "m", False),
        (SIZES, None, True),
        (DataItem(type="integer", extra={"enum": [1, 2]}), 3, False),
        (DataItem(type="boolean"), None, True),
    ],
)
def test_a_value_fits_its_type_and_its_enum_or_is_null(item: DataItem, value: Any, fits: bool) -> None:
    assert (problem_with(item, value) == "") is fits


async def test_values_come_in_their_types_with_reasons(shipped: Any) -> None:
    items = parse_items({"order": "string", "people": "integer", "size": {"type": "string", "enum": ["S"]}}, "agent")
    entries = [{"id": "order", "reason": "said so", "value": "1234"}, {"id": "people", "value": 4.0}]
    llm = FakeLLM([Reply([json.dumps({"data": [*entries, {"id": "size", "value": None}]})])])
    grade = await Judge(llm).collect(shipped, items)
    assert {name: result.value for name, result in grade.data.items()} == {"order": "1234", "people": 4, "size": None}
    assert isinstance(grade.data["people"].value, int)
    assert grade.data["order"].rationale == "said so"
    assert '"enum": ["S"]' in llm.requests[0].messages[1].content
    assert grade.success is None


async def test_a_value_of_another_type_is_asked_again_and_then_none_with_a_fault(shipped: Any) -> None:
    wrong = json.dumps({"data": [{"id": "people", "value": "four"}]})
    llm = FakeLLM(lambda _: Reply([wrong]))
    grade = await Judge(llm).collect(shipped, {"people": DataItem(type="integer")})
    assert grade.data["people"].value is None
    assert grade.unjudged == ("people",)
    assert 'the value of people must be an integer or null, got "four"' in llm.requests[1].messages[-1].content
    assert 'got "four"' in grade.faults[0].detail


async def test_a_value_that_is_left_out_is_not_null(shipped: Any) -> None:
    llm = FakeLLM(lambda _: Reply([json.dumps({"data": [{"id": "people"}]})]))
    grade = await Judge(llm).collect(shipped, {"people": DataItem(type="integer")})
    assert "the value of people is missing" in grade.faults[0].detail


async def test_a_text_that_cannot_be_stored_is_made_whole(shipped: Any) -> None:
    llm = FakeLLM([Reply(['{"data": [{"id": "name", "value": "A\\ud800\\u0000"}]}'])])
    grade = await Judge(llm).collect(shipped, {"name": DataItem()})
    assert grade.data["name"].value == "A\ufffd\ufffd"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ([1], "agent, data_collection: must be a mapping"),
        ({"n": "int"}, "agent, data_collection.n.type: 'int' is not known (did you mean integer?)"),
        ({"n": {"type": "integer", "enum": ["a"]}}, 'n.enum: must be an integer, got "a"'),
        ({"n": {"type": "string", "enum": []}}, "n.enum: must be a list"),
        ({"n": {"typ": "string"}}, "did you mean type?"),
        ({"n": None}, "n: must be a mapping"),
    ],
)
def test_a_wrong_item_is_one_sentence_that_names_it(raw: Any, expected: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_items(raw, "agent")
    assert expected in str(caught.value)
