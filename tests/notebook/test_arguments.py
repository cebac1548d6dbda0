"""The reading of a magic's line: every trap of IPython's own reading, once."""

from __future__ import annotations

import os

import pytest

from convai_lab.notebook.arguments import Arguments, ArgumentsError, Magic, Option, split
from convai_lab.notebook.magics import AGENT, CHAT, ENTRIES

PROBE = Magic(
    name="probe",
    summary="Try things.",
    positional="NAME",
    positional_help="a name",
    options=(
        Option("--llm", "a model"),
        Option("--tool", "a tool", repeat=True),
        Option("--var", "a variable", pairs=True),
        Option("--temperature", "a number", convert=float),
        Option("--text", "a text"),
        Option("--live", "a flag", flag=True),
    ),
    examples=("%probe x",),
)


def order_status() -> None:
    """A function to pass around."""


NAMESPACE = {"order_status": order_status, "m": "gpt-4o", "cities": ["New York"], "t": 0.4, "os": os}


def _read(line: str, magic: Magic = PROBE) -> Arguments:
    return magic.parse(line, NAMESPACE)


def test_double_braces_are_left_to_the_prompt() -> None:
    assert _read('x --text "Hi {{name}}"').text == "Hi {{name}}"
    assert _read("x --text {{name}}").text == "{{name}}"


@pytest.mark.parametrize("text", ["Save $100 today", "$100. That is all", "{os.getcwd()}", '{"a": 1', "100% {", "a\\b"])
def test_quoted_text_is_literal(text: str) -> None:
    assert _read(f"x --text '{text}'").text == text


def test_a_whole_word_in_braces_is_python() -> None:
    read = _read("x --llm {m} --tool {order_status} --tool $order_status --temperature {t}")
    assert (read.llm, read.tool, read.temperature) == ("gpt-4o", [order_status, order_status], 0.4)


def test_python_may_hold_blanks_and_quotes() -> None:
    assert _read('x --llm {", ".join(cities)}').llm == "New York"


def test_a_value_after_an_equals_sign_may_be_python_or_quoted() -> None:
    read = _read('x --var city="New York" --var town={cities[0]} --var n=$m --var raw="{m}" --llm={m}')
    assert read.var == {"city": "New York", "town": "New York", "n": "gpt-4o", "raw": "{m}"}
    assert read.llm == "gpt-4o"


def test_a_comment_ends_the_line() -> None:
    assert _read("x --live # and this is why").live is True


def test_windows_paths_survive() -> None:
    assert _read(r"C:\agents\new --text C:\temp").name == r"C:\agents\new"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x --text 'open", "quote is not closed"),
        ("x --text {open", "brace is not closed"),
        ("x --temprature 1", "did you mean --temperature"),
        ("x --zzz", "--help lists them"),
        ("x --temp 1", "did you mean --temperature"),
        ("x --temperature hot", "--temperature: hot is not right: it takes a number"),
        ("x --llm", "--llm needs a value"),
        ("x --var lonely", "--var takes name=value"),
        ("x --var =1", "--var takes name=value"),
        ("x and more", "put text with spaces in quotes"),
        ("", "%probe needs NAME"),
        ("x --llm {nothing_here}", "NameError"),
        ("x --llm {1/0}", "ZeroDivisionError"),
    ],
)
def test_a_wrong_line_is_one_sentence(line: str, said: str) -> None:
    with pytest.raises(ArgumentsError, match=said) as raised:
        _read(line)
    assert "\n" not in str(raised.value)


def test_a_very_long_line_is_read_and_a_long_mistake_is_shortened() -> None:
    assert len(_read(f"x --text '{'y' * 1_000_000}'").text) == 1_000_000
    with pytest.raises(ArgumentsError) as raised:
        _read("x '" + "y" * 1_000_000)
    assert len(str(raised.value)) < 300


def test_an_option_that_was_not_given_is_none() -> None:
    assert _read("x").temperature is None
    assert _read("x").live is None


def test_free_text_needs_no_quotes() -> None:
    assert _read("support Where is order #1234, please?", CHAT).rest == "Where is order #1234, please?"
    assert _read("support I'm late", CHAT).rest == "I'm late"
    assert _read("support --var name=Ada Hello there --save conv", CHAT).rest == "Hello there"


def test_free_text_is_never_python() -> None:
    assert _read("support say {os.getcwd()} and $m", CHAT).rest == "say {os.getcwd()} and $m"


def test_splitting_keeps_quoted_blanks() -> None:
    assert [word.text for word in split("a 'b c' d=\"e f\"")] == ["a", "b c", "d=e f"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.magic.name)
def test_the_help_of_every_magic_names_its_options_and_shows_examples(entry) -> None:  # type: ignore[no-untyped-def]
    text = entry.magic.help()
    assert all(option.name in text for option in entry.magic.options)
    assert entry.magic.examples[0].splitlines()[0] in text


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.magic.name)
def test_every_example_of_every_magic_can_be_read(entry) -> None:  # type: ignore[no-untyped-def]
    for example in entry.magic.examples:
        first = example.splitlines()[0]
        line = first.split("%", 1)[1].lstrip("%").removeprefix(entry.magic.name)
        assert not entry.magic.parse(line, NAMESPACE).wants_help


def test_help_is_asked_for_with_two_dashes() -> None:
    assert _read("--help", AGENT).wants_help
    assert not _read("x --first-message '--help'", AGENT).wants_help
