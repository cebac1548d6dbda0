"""The tree of errors is the one that is drawn, and every error travels and shows itself well."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from convai_lab import errors
from convai_lab.errors import ConvaiLabError, Problem

SAMPLES: list[ConvaiLabError] = [
    errors.ConvaiLabError("plain"),
    errors.InvalidValueError("must be from 0 to 1", field="asr.quality"),
    errors.InvalidConfigError([Problem(("tts", 0, "speed"), "must be a number", "number"), Problem((), "bad", "x")]),
    errors.InvalidConfigError([]),
    errors.MissingVariableError(["name", "city"], where="the first message"),
    errors.MissingKeyError("OPENAI_API_KEY", needed_for="gpt-4o"),
    errors.MissingPackageError("aiortc", extra="voice", needed_for="%talk"),
    errors.NotSupportedError("no"),
    errors.ForbiddenAddressError("refused"),
    errors.ResponseTooLargeError(1_000_000, url="https://example.com"),
    errors.StorageError("locked"),
    errors.PlatformProcessError("it ended\nwith this log"),
    errors.ToolError("failed", tool="order_status"),
    errors.ToolNotAvailableError("nobody here", tool="order_status"),
    errors.ToolTimeoutError("too slow", tool="order_status"),
    errors.PlatformError("no", status=500, body={"detail": "x"}),
    errors.AuthenticationError("no", status=401),
    errors.NotFoundError("no", status=404),
    errors.AmbiguousNameError("two"),
    errors.InvalidRequestError("no", status=422, problems=[Problem(("a",), "b", "c")]),
    errors.RateLimitError("slow down", retry_after=2.5),
    errors.ConversationClosedError("closed", code=1002),
    errors.ProviderError("no", provider="openai", status=500, model="gpt-4o"),
    errors.ProviderAuthError("no", provider="openai"),
    errors.ModelNotFoundError("no such model", provider="openai", model="gpt-5o", suggestions=["gpt-4o"]),
    errors.ProviderRateLimitError("slow down", provider="openai", retry_after=1.0),
    errors.ProviderRequestError("no", provider="openai"),
    errors.ProviderConnectionError("no", provider="openai"),
    errors.ProviderTimeoutError("no", provider="openai"),
    errors.ProviderStreamError("cut", provider="openai"),
    errors.CassetteMissError("nothing like it was recorded", model="gpt-4o"),
]


def drawn_tree() -> dict[str, str | None]:
    """Return every class drawn in the module's docstring with the one it hangs from."""
    parents: dict[str, str | None] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"^ {4}([│├└─ ]*)(\w+Error)\b", line):
            depth = len(found[1]) // 4
            above[depth:] = [found[2]]
            parents[found[2]] = above[depth - 1] if depth else None
    return parents


def real_tree() -> dict[str, str | None]:
    """Return every class of the module with the one of ours that it is made from."""
    return {
        name: None if kind is ConvaiLabError else kind.__bases__[0].__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, ConvaiLabError)
    }


def test_the_tree_that_is_drawn_is_the_real_one():
    assert drawn_tree() == real_tree()


def test_every_class_is_tried_below():
    assert {type(sample).__name__ for sample in SAMPLES} == set(real_tree())


def test_every_class_says_what_it_means():
    assert all((kind.__doc__ or "").strip() for kind in map(type, SAMPLES))


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_a_notebook_shows_one_line(error):
    (line,) = error._render_traceback_()
    assert "\n" not in line
    assert line.startswith(f"{type(error).__name__}:")
    assert " ".join(str(error).split()) in line


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("send", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_travels_whole(send, error):
    received = send(error)
    assert type(received) is type(error)
    assert str(received) == str(error)
    assert vars(received) == vars(error)


def test_a_note_on_an_error_travels_with_it():
    error = errors.ProviderError("no", provider="openai")
    error.add_note("in trial 3")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["in trial 3"]


def test_an_invalid_value_is_also_a_value_error_that_names_its_field():
    with pytest.raises(ValueError, match=r"^asr\.quality: must be from 0 to 1$") as caught:
        raise SAMPLES[1]
    assert caught.value.field == "asr.quality"


def test_an_invalid_configuration_lists_all_its_problems():
    error = errors.InvalidConfigError([Problem(("tts", 0, "speed"), "too fast", "range"), Problem(("llm",), "no", "x")])
    assert str(error) == "tts.0.speed: too fast; llm: no"
    assert error.field == "tts.0.speed"
    assert len(error.problems) == 2


def test_a_missing_variable_names_all_of_them_and_how_to_give_them():
    message = str(errors.MissingVariableError(["name", "city"]))
    assert "{{name}}, {{city}}" in message
    assert "--var name=... --var city=..." in message
    assert "variables={...}" in message


def test_a_missing_key_names_the_variable_and_the_way_without():
    message = str(errors.MissingKeyError("OPENAI_API_KEY", needed_for="gpt-4o"))
    assert "OPENAI_API_KEY" in message
    assert "--llm offline" in message


def test_a_missing_package_says_how_to_install_it():
    error = errors.MissingPackageError("aiortc", extra="voice", needed_for="%talk")
    assert isinstance(error, ImportError)
    assert "pip install 'convai-lab[voice]'" in str(error)


def test_an_unknown_model_comes_with_suggestions():
    error = errors.ModelNotFoundError("no gpt-5o", provider="openai", suggestions=["gpt-4o", "gpt-5"])
    assert str(error) == "openai: no gpt-5o (did you mean gpt-4o, gpt-5?)"
    assert error.suggestions == ("gpt-4o", "gpt-5")
