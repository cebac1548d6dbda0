"""Tools, calls and texts fit every vendor and come back unchanged."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai_lab.clock import VirtualClock
from convai_lab.conversations.turn import ToolCall
from convai_lab.providers.tool_names import TextPieces, ToolNames, new_call, safe_id, sent_arguments, whole_text


@given(st.lists(st.text(max_size=80), max_size=12, unique=True))
def test_every_name_goes_out_safe_unique_and_comes_back(names: list[str]) -> None:
    mapped = ToolNames(names)
    out = [mapped.out(name) for name in names]
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in out)
    assert len(set(out)) == len(names)
    assert [mapped.back(name) for name in out] == names


def test_a_good_name_is_never_changed_for_a_bad_one() -> None:
    names = ToolNames(["a b", "a_b"])
    assert (names.out("a_b"), names.out("a b")) == ("a_b", "a_b_2")


@pytest.mark.parametrize("call_id", ["", "x" * 41, "a b", "ü", "call:1"])
def test_odd_ids_become_safe_ones_and_always_the_same(call_id: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", safe_id(call_id))
    assert safe_id(call_id) == safe_id(call_id)


def test_good_ids_stay() -> None:
    assert safe_id("call_" + "f" * 32) == "call_" + "f" * 32


@pytest.mark.parametrize(
    ("written", "arguments"), [("", {}), (" ", {}), ("null", {}), ("{}", {}), ('{"a": [1, "ü"]}', {"a": [1, "ü"]})]
)
def test_arguments_are_parsed(written: str, arguments: dict[str, object]) -> None:
    made = new_call(VirtualClock(), ToolNames([]), id="c1", name="t", arguments=written)
    assert made == ToolCall(id="c1", name="t", arguments=arguments)


@pytest.mark.parametrize("written", ["{", "[1]", '"x"', "17", '{"a": NaN}', "{'a': 1}", "[" * 100_000])
def test_arguments_that_are_no_json_object_are_kept_as_they_were(written: str) -> None:
    made = new_call(VirtualClock(), ToolNames([]), id="c1", name="t", arguments=written)
    assert made.arguments == {}
    assert made.extra == {"raw_arguments": written}
    assert sent_arguments(made) == {"raw_arguments": written}


def test_a_missing_id_is_made_by_the_clock() -> None:
    first, again = (new_call(VirtualClock(seed=3), ToolNames([]), id="", name="t", arguments="") for _ in range(2))
    assert first.id == again.id
    assert re.fullmatch(r"call_[0-9a-f]{32}", first.id)


def test_half_characters_never_reach_the_store() -> None:
    made = new_call(VirtualClock(), ToolNames([]), id="c", name="t\ud800", arguments='{"a": "x\\ud83d\\ude00 \\ud800"}')
    assert made.arguments == {"a": "x😀 �"}
    assert made.name == "t�"
    assert whole_text("\udc00a") == "�a"


def test_characters_cut_in_two_between_pieces_are_joined() -> None:
    pieces = TextPieces()
    assert [pieces.take(p) for p in ("a\ud83d", "", None, 5, "\ude00b", "\ud83d", "c")] == [
        "a", "", "", "", "😀b", "", "�c",
    ]  # fmt: skip
