"""The real adapters on a cassette: recorded with the vendor there, replayed with it gone and without its key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convai_lab.agents.agent import CustomLLM
from convai_lab.clock import SystemClock, VirtualClock
from convai_lab.errors import (
    CassetteMissError,
    InvalidValueError,
    MissingKeyError,
    ModelNotFoundError,
    ProviderAuthError,
    StorageError,
)
from convai_lab.providers.base import ChatMessage, ChatRequest, LLMEvent, ToolSpec
from convai_lab.providers.cassette_llm import CassetteLLM
from convai_lab.providers.registry import find_llm
from convai_lab.providers.retry import NO_RETRIES
from convai_lab.testing.fake_llm import Reply, call
from convai_lab.testing.fake_vendors import fake_anthropic, fake_gemini, fake_openai
from convai_lab.testing.vendor_script import BadKey, HangUp, NoSuchModel

TOOL = ToolSpec(
    name="order_status",
    description="Look up an order.",
    parameters={"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
)
MODELS = {"gpt-4o-mini": fake_openai, "claude-haiku-4-5": fake_anthropic, "gemini-2.5-flash": fake_gemini}


def asking(text: str) -> ChatRequest:
    return ChatRequest(messages=[ChatMessage(role="user", content=text)], tools=(TOOL,), temperature=0.1)


async def told(model: str, text: str) -> Any:
    try:
        return [event async for event in find_llm(model, retry=NO_RETRIES).stream(asking(text))]
    except Exception as error:
        return (type(error), str(error), getattr(error, "status", None))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vendors.jsonl"


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, path: Path) -> Callable[[str], None]:
    """Set the cassette's mode."""
    return lambda mode: monkeypatch.setenv("CONVAI_LAB_CASSETTE", f"{path}:{mode}")


@pytest.mark.parametrize("model", MODELS)
async def test_an_adapters_answers_and_errors_are_replayed_when_server_and_key_are_gone(
    model: str, path: Path, use: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = [
        Reply(["It ", "ships ", "tomorrow."]),
        Reply("One moment.", (call("order_status", order_id="7"),)),
        BadKey(),
        NoSuchModel(),
        HangUp(),
    ]
    questions = ["When?", "Where is 7?", "With what key?", "Which model?", "Are you there?"]
    with MODELS[model](script) as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        use("record")
        live = [await told(model, question) for question in questions]
        assert len(server.requests) >= len(questions)
        key, url = server.dialect.variables
    assert live[2][0] is ProviderAuthError
    assert live[3][0] is ModelNotFoundError
    monkeypatch.delenv(key)
    monkeypatch.delenv(url)
    use("replay")
    order = [4, 2, 0, 3, 1]
    assert [await told(model, questions[i]) for i in order] == [live[i] for i in order]
    assert server.key not in path.read_text()
    missed = await told(model, "Something new?")
    assert missed[0] is CassetteMissError
    monkeypatch.delenv("CONVAI_LAB_CASSETTE")
    with pytest.raises(MissingKeyError):
        find_llm(model)


def test_a_real_answer_recorded_in_virtual_time_lets_it_pass_and_repeats_exactly(
    path: Path, use: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> list[tuple[float, LLMEvent]]:
        clock = VirtualClock()

        async def heard() -> list[tuple[float, LLMEvent]]:
            stream = find_llm("gpt-4o-mini").stream(asking("Hi"))
            return [(clock.now(), event) async for event in stream]

        return clock.run(heard())

    with fake_openai([Reply(["Good ", "day."], delay_secs=0.05)]) as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        use("record")
        live = run()
    assert 0.05 <= live[0][0] < 2
    use("replay")
    assert run() == live
    use("auto")
    assert run() == live


async def test_a_custom_model_is_known_by_its_address(path: Path, use: Callable[[str], None]) -> None:
    with fake_openai(["Mine."]) as server:
        url = server.base_url
        use("record")
        live = find_llm("custom-llm", custom=CustomLLM(url=url, model="m"), clock=SystemClock())
        _ = [event async for event in live.stream(asking("Hi"))]
    use("replay")
    again = find_llm("custom-llm", custom=CustomLLM(url=url, model="m"))
    assert [event async for event in again.stream(asking("Hi"))]
    other = find_llm("custom-llm", custom=CustomLLM(url="http://127.0.0.1:9/v1", model="m"))
    with pytest.raises(CassetteMissError, match=r"at is from character \d+ on"):
        _ = [event async for event in other.stream(asking("Hi"))]


def test_a_model_that_is_to_be_recorded_needs_its_key_at_once(use: Callable[[str], None]) -> None:
    use("record")
    with pytest.raises(MissingKeyError, match="OPENAI_API_KEY"):
        find_llm("gpt-4o-mini")
    assert not isinstance(find_llm("offline"), CassetteLLM)


def test_a_setting_that_names_no_cassette_says_so_when_a_model_is_wanted(
    path: Path, use: Callable[[str], None]
) -> None:
    use("replay")
    with pytest.raises(StorageError, match="there is no cassette"):
        find_llm("gpt-4o-mini")
    use("loud")
    with pytest.raises(InvalidValueError, match="the mode must be one of"):
        find_llm("gpt-4o-mini")
