"""What a request cost, and how we know."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai_lab.providers.base import Usage
from convai_lab.providers.prices import Cost, cost_usd, price_date

NEW_YEAR_2026 = 1_767_225_600.0
THOUSAND = Usage(input=1000, output=1000)


@pytest.mark.parametrize(
    ("provider", "model", "dollars"),
    [
        ("openai", "gpt-4o", 0.0125),
        ("openai", "gpt-4o-mini", 0.00075),
        ("openai", "gpt-4o-mini-2024-07-18", 0.00075),
        ("openai", "gpt-4-turbo", 0.04),
        ("anthropic", "claude-3-5-sonnet-20241022", 0.018),
        ("anthropic", "claude-haiku-4-5", 0.006),
        ("google", "gemini-1.5-pro", 0.00625),
        ("google", "gemini-2.5-flash", 0.0028),
        ("gemini", "gemini-2.5-flash", 0.0028),
    ],
)
def test_list_prices_are_estimates_with_a_date(provider, model, dollars):
    assert cost_usd(provider, model, THOUSAND, at=NEW_YEAR_2026) == Cost(pytest.approx(dollars), True, price_date())


@pytest.mark.parametrize("provider", ["offline", "ollama", "lmstudio", "llamacpp", "vllm"])
def test_models_on_this_machine_cost_nothing_and_that_is_no_estimate(provider):
    assert cost_usd(provider, "any", Usage()) == Cost(0.0, False, None)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("custom-llm", "gpt-4o"),
        ("my-openai-proxy", "gpt-4o"),
        ("openai", "gpt-99-imaginary"),
        ("openai", ""),
        ("", "gpt-4o"),
        ("multimodal", "gpt-4o"),
        ("openrouter", "meta-llama/llama-3.3-70b-instruct:free"),
        ("openai", "text-embedding-3-small"),
        ("openai", "x" * 100_000),
        ("openai", "gpt-4o\0\n{{}}"),
    ],
)
def test_an_unknown_price_is_none_and_never_zero(provider, model):
    assert cost_usd(provider, model, THOUSAND) is None


@pytest.mark.parametrize(
    "usage",
    [
        Usage(),
        Usage(input=10),
        Usage(output=10),
        Usage(input=-1, output=1),
        Usage(input=1, output=-1),
        Usage(input=10, output=1, cached_input=11),
        Usage(input=10, output=1, cached_input=6, cache_write=6),
        Usage(input=10, output=1, reasoning=2),
        Usage(input=10, output=1, cached_input=-5),
    ],
)
def test_tokens_that_are_missing_or_contradict_each_other_have_no_price(usage):
    assert cost_usd("openai", "gpt-4o", usage) is None


def test_cached_tokens_are_cheaper():
    cost = cost_usd("openai", "gpt-4o-mini", Usage(input=1_000_000, output=0, cached_input=500_000), at=NEW_YEAR_2026)
    assert cost is not None
    assert cost.usd == pytest.approx(0.5 * 0.15 + 0.5 * 0.075)


def test_writing_the_cache_has_its_own_price():
    usage = Usage(input=1_000_000, output=0, cached_input=400_000, cache_write=100_000)
    cost = cost_usd("anthropic", "claude-haiku-4-5", usage, at=NEW_YEAR_2026)
    assert cost is not None
    assert cost.usd == pytest.approx(0.5 * 1 + 0.4 * 0.1 + 0.1 * 1.25)


def test_reasoning_tokens_are_part_of_the_output():
    plain = cost_usd("openai", "gpt-5", Usage(input=100, output=1000), at=NEW_YEAR_2026)
    assert plain is not None
    assert cost_usd("openai", "gpt-5", Usage(input=100, output=1000, reasoning=900), at=NEW_YEAR_2026) == plain


def test_prices_are_those_of_the_day_of_the_request():
    june = datetime(2025, 6, 1, tzinfo=UTC).timestamp()
    before, after = (cost_usd("openai", "o3", THOUSAND, at=at) for at in (june, NEW_YEAR_2026))
    assert before is not None
    assert after is not None
    assert before.usd == pytest.approx(0.05)
    assert after.usd == pytest.approx(0.01)


def test_the_price_date_is_a_day_that_has_come():
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", price_date())
    assert "2025-01-01" < price_date() <= datetime.now(UTC).date().isoformat()


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_more_tokens_never_cost_less(fresh, cached, written, output):
    usage = Usage(input=fresh + cached + written, output=output, cached_input=cached, cache_write=written)
    more = Usage(input=fresh + cached + written + 1, output=output + 1, cached_input=cached, cache_write=written)
    cost, more_cost = (cost_usd("anthropic", "claude-haiku-4-5", u, at=NEW_YEAR_2026) for u in (usage, more))
    assert cost is not None
    assert more_cost is not None
    assert 0 <= cost.usd < more_cost.usd


def test_pricing_never_touches_the_network():
    code = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise SystemExit(f"pricing did {event} {arguments}")
sys.addaudithook(refuse)
from convai_lab.providers.base import Usage
from convai_lab.providers.prices import cost_usd, load_prices
load_prices()
print(cost_usd("openai", "gpt-4o", Usage(input=1, output=1)) is not None, cost_usd("openai", "nope", Usage(1, 1)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("True None\n", "")


def test_the_price_list_is_loaded_only_when_a_paid_model_is_priced():
    code = """
import sys
from convai_lab.providers.base import Usage
from convai_lab.providers.prices import cost_usd
cost_usd("offline", "offline", Usage()), cost_usd("openai", "gpt-4o", Usage())
print("genai_prices" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "False\n"
