"""Mocks fit by arguments and state, fill in arguments, and change nothing but their state."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.errors import InvalidValueError
from convai_lab.simulation.tool_mocks import Mock, filled, tool_mocks


@pytest.mark.parametrize(
    ("when", "arguments", "fits"),
    [
        ({}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": True}, {"a": 1}, False),
        ({"a": None}, {}, False),
        ({"a": None}, {"a": None}, True),
        ({"a.b": [1, {"c": 2}]}, {"a": {"b": [1, {"c": 2}]}}, True),
        ({"a.b": 1}, {"a": 1}, False),
        ({"a.b": 1}, {"a.b": 1}, True),
    ],
)
def test_a_mock_fits_when_the_call_has_at_least_its_arguments(when: Any, arguments: Any, fits: bool) -> None:
    assert Mock(when=when).fits(arguments, {}) is fits
    assert Mock(given=when).fits({}, arguments) is fits


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("{{n}}", 3),
        ("no {{ n }} of {{who}}", "no 3 of Ada"),
        ({"a": ["{{who}}", 1]}, {"a": ["Ada", 1]}),
        ("{{unknown}} {{n}}", "{{unknown}} 3"),
        ("{{trap}}", "{{n}}"),
        (None, None),
    ],
)
def test_arguments_are_filled_in_once_and_keep_their_type(value: Any, told: Any) -> None:
    assert filled(value, {"n": 3, "who": "Ada", "trap": "{{n}}"}) == told


def test_a_change_goes_down_and_replaces_what_is_in_its_way() -> None:
    state: dict[str, Any] = {"order": {"id": 1}, "x": 5}
    Mock(set={"order.status": "open", "x.y.z": "{{n}}", "top": [1]}).change(state, {"n": 2})
    assert state == {"order": {"id": 1, "status": "open"}, "x": {"y": {"z": 2}}, "top": [1]}


def test_what_a_mock_was_made_of_is_not_what_it_holds() -> None:
    given = {"result": {"a": [1]}}
    (mock,) = tool_mocks(given, where="here")
    given["result"]["a"].append(2)
    assert mock.result == {"a": [1]}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"result": 1, "set": [1]}, "here.set: must be a mapping"),
        ({"result": 1, "when": {1: 2}}, "here.when: must be a mapping"),
        ({"result": 1, "delay_secs": -1}, "here.delay_secs: must be seconds from 0 to 3600"),
        ({"error": ""}, "here.error: must be a text that says what went wrong"),
        ({"when": {}}, "here: needs a `result` or an `error`"),
        ([3], "here[0]: must be a mapping such as"),
        ("shipped", "here: must be a list of answers"),
        ([{"result": 1}] * 1001, "here: must hold from 1 to 1,000 answers, got 1,001"),
    ],
)
def test_a_malformed_mock_is_refused_with_its_place(value: Any, told: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        tool_mocks(value, where="here")
    assert told in str(caught.value)
