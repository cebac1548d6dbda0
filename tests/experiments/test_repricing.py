"""What conversations would have cost with other models, and what of it is not known."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn, TurnMetrics
from convai_lab.errors import InvalidValueError, ModelNotFoundError
from convai_lab.experiments.comparison import Comparison
from convai_lab.experiments.repricing import reprice
from convai_lab.providers.base import Usage
from convai_lab.providers.prices import cost_usd, price_date
from convai_lab.testing.fake_llm import Reply
from convai_lab.testing.fake_vendors import FakeVendor
from convai_lab.testing.vendor_script import Received

DAY = "2026-01-31"
AT = 1769817600.0


def conversation(*tokens: tuple[int | None, int | None], **fields: Any) -> Conversation:
    turns: list[Turn] = []
    for given, made in tokens:
        metrics = TurnMetrics(input_tokens=given, output_tokens=made, cached_tokens=100, cost_usd=0.5)
        turns += [
            Turn(role="user", text="Hi", **fields),
            Turn(role="agent", text="Hello!", llm_requested="m", metrics=metrics),
        ]
    return Conversation(id="c1", agent_id="a", agent_name="Support", turns=tuple(turns))


def usd(provider: str, model: str, *usages: Usage) -> float:
    costs = [cost_usd(provider, model, usage, at=AT) for usage in usages]
    return sum(cost.usd for cost in costs if cost is not None)


def test_tokens_are_kept_and_priced_as_another_model_would() -> None:
    frame = reprice(conversation((1000, 200), (3000, 50)), "gpt-4o-mini, claude-haiku-4-5,ollama/llama3.2", at=DAY)
    usages = [Usage(1000, 200, 100), Usage(3000, 50, 100)]
    assert list(frame["model"]) == ["gpt-4o-mini", "claude-haiku-4-5", "ollama/llama3.2"]
    expected = [usd("openai", "gpt-4o-mini", *usages), usd("anthropic", "claude-haiku-4-5", *usages), 0.0]
    assert list(frame["llm_usd"]) == pytest.approx(expected)
    assert expected[0] > 0
    assert list(frame["input_tokens"]) == [4000] * 3
    assert list(frame["recorded_usd"]) == [1.0] * 3
    assert list(frame["price_date"][:2]) == [price_date()] * 2
    assert frame["price_date"].isna()[2]
    assert frame["is_estimate"].all()
    assert "another model counts the same text otherwise" in frame.attrs["note"]


def test_a_price_that_is_not_known_is_missing_and_named() -> None:
    frame = reprice([conversation((1000, 5))], ["openai/gpt-never-seen", "gpt-4o-mini"], at=date(2026, 1, 31))
    assert math.isnan(frame["total_usd"][0])
    assert frame["unknown"][0] == "the price of openai/gpt-never-seen"
    assert frame["unknown"][1] == ""
    lost = reprice(conversation((1000, 5), (None, None)), "gpt-4o-mini", at=AT)
    assert math.isnan(lost["llm_usd"][0])
    assert lost["unknown"][0] == "the tokens of 1 of 2 replies"
    assert lost["input_tokens"].isna()[0]


def spoken(asr: str, tts: str) -> Conversation:
    return Conversation(
        id="c2",
        agent_id="a",
        channel="voice",
        turns=(
            Turn(role="user", text="Hi", asr_engine=asr, start_secs=1.0, end_secs=19.0),
            Turn(
                role="agent",
                text="x" * 500,
                tts_engine=tts,
                llm_requested="m",
                metrics=TurnMetrics(input_tokens=10, output_tokens=5),
            ),
        ),
    )


def test_speech_counts_where_its_price_is_known_and_is_named_unknown_elsewhere() -> None:
    free = reprice(spoken("pocketsphinx", "espeak"), "ollama/x")
    assert (free["total_usd"][0], free["tts_chars"][0], free["asr_secs"][0]) == (0.0, 500, 18.0)
    unknown = reprice(spoken("elevenlabs", "elevenlabs/eleven_flash_v2"), "ollama/x")
    assert math.isnan(unknown["total_usd"][0])
    assert unknown["llm_usd"][0] == 0.0
    assert (
        "the price of the voice elevenlabs/eleven_flash_v2; the price of the recogniser elevenlabs"
        in (unknown["unknown"][0])
    )
    known = reprice(
        spoken("elevenlabs", "elevenlabs"), "ollama/x", speech={"tts_per_1000_chars": 0.1, "asr_per_hour": 0.4}
    )
    assert known["total_usd"][0] == pytest.approx(0.05 + 0.002)


def test_no_conversations_give_an_empty_table_with_its_columns() -> None:
    frame = reprice([], "gpt-4o-mini")
    assert len(frame) == 0
    assert "total_usd" in frame


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"models": "gpt4"}, ModelNotFoundError, "gpt4"),
        ({"models": []}, InvalidValueError, "models: name at least one"),
        ({"models": [7]}, InvalidValueError, "models: must be a model's name, got int"),
        ({"at": "soon"}, InvalidValueError, "at: must be a day such as 2026-01-31, got 'soon'"),
        ({"at": 1e300}, InvalidValueError, "at: must be a day"),
        ({"speech": {"tts": 1}}, InvalidValueError, "speech.tts: there are tts_per_1000_chars, asr_per_hour"),
        ({"speech": {"asr_per_hour": -1}}, InvalidValueError, "speech.asr_per_hour: must be USD from 0"),
        ({"conversations": ["x"]}, InvalidValueError, "conversations: must be conversations, got str"),
    ],
)
def test_what_cannot_be_priced_is_refused_in_words(options: dict[str, Any], error: type[Exception], said: str) -> None:
    given = {"conversations": [conversation((1, 1))], "models": "gpt-4o-mini", **options}
    with pytest.raises(error, match=said):
        reprice(given.pop("conversations"), given.pop("models"), **given)


def test_a_finished_comparison_is_priced_under_other_models(
    agent: Agent, vendor: FakeVendor, run: Callable[..., Comparison]
) -> None:
    def answer(received: Received) -> Any:
        is_right = "1" in received.body["messages"][-1]["content"]
        return Reply("It shipped." if is_right else "No idea.", usage=Usage(input=1000, output=100))

    vendor.answer(answer)  # type: ignore[attr-defined]
    cases = [
        {"id": f"s{i}", "opening": f"Order {i}?", "checks": [{"said": "shipped"}], "max_turns": 2} for i in range(4)
    ]
    comparison = run({"a": agent, "b": agent.with_changes(prompt="Brief.")}, cases)
    frame = comparison.reprice({"a": "gpt-4o-mini", "b": "claude-haiku-4-5"})
    one = [
        cost_usd("openai", "gpt-4o-mini", Usage(1000, 100)),
        cost_usd("anthropic", "claude-haiku-4-5", Usage(1000, 100)),
    ]
    expected = [cost.usd for cost in one if cost is not None]
    assert list(frame["cost_per_conversation_usd"]) == pytest.approx(expected)
    assert list(frame["cost_per_success_usd"]) == pytest.approx([4 * cost for cost in expected])
    assert list(frame["successes"]) == [1, 1]
    assert frame["recorded_per_conversation_usd"][0] == pytest.approx(frame["cost_per_conversation_usd"][0])
    every = comparison.reprice("gpt-4o-mini,openai/gpt-never-seen")
    assert list(every["variant"]) == ["a", "b", "a", "b"]
    assert every["unknown"][2] == "the price of openai/gpt-never-seen"
    assert math.isnan(every["cost_per_success_usd"][2])
    with pytest.raises(InvalidValueError, match="models: 'c' is no variant; they are a, b"):
        comparison.reprice({"c": "gpt-4o-mini"})
