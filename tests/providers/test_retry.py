"""Failures that may pass are tried again: with jitter, within limits, and never once an answer has begun."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate

import httpx
import pytest

from convai_lab.clock import VIRTUAL_EPOCH, VirtualClock
from convai_lab.errors import (
    ProviderAuthError,
    ProviderError,
    ProviderRateLimitError,
    ProviderStreamError,
    ProviderTimeoutError,
)
from convai_lab.providers.base import ChatMessage, ChatRequest, LLMEvent, TextDelta
from convai_lab.providers.openai_compatible import OpenAICompatibleLLM
from convai_lab.providers.retry import RetryPolicy
from convai_lab.settings import Secret

GOOD = b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
HELLO = ChatRequest(messages=[ChatMessage(role="user", content="Hi")])

NEVER = httpx.Response(204)
"""Stands for no answer at all."""

Answer = httpx.Response | Exception | Callable[[], httpx.Response]


class Vendor:
    """Answers in turn, and notes when it was asked."""

    def __init__(
        self,
        answers: Sequence[Answer],
        *,
        policy: RetryPolicy | None = None,
        seed: int = 1,
        key: Secret | None = None,
        base_url: str = "http://vendor/v1",
    ) -> None:
        self.clock = VirtualClock()
        self.asked_at: list[float] = []
        self._answers: Iterator[Answer] = iter(answers)
        self.llm = OpenAICompatibleLLM(
            "m-1",
            api_key=key,
            http=httpx.AsyncClient(transport=httpx.MockTransport(self._answer)),
            base_url=base_url,
            clock=self.clock,
            retry=policy,
            rng=random.Random(seed),
        )

    def ask(self) -> list[LLMEvent]:
        async def read() -> list[LLMEvent]:
            return [event async for event in self.llm.stream(HELLO)]

        return self.clock.run(read())

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked_at.append(self.clock.now())
        answer = next(self._answers)
        if answer is NEVER:
            await self.clock.sleep(1_000_000)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer()


def good() -> httpx.Response:
    return httpx.Response(200, content=GOOD)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 520, 529])
def test_statuses_that_may_pass_are_tried_again(status: int) -> None:
    vendor = Vendor([httpx.Response(status), httpx.Response(status), good()])
    assert vendor.ask()[0] == TextDelta("Hi")
    assert len(vendor.asked_at) == 3


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 413, 422, 451])
def test_statuses_that_stay_are_not(status: int) -> None:
    vendor = Vendor([httpx.Response(status), good()])
    with pytest.raises(ProviderError) as caught:
        vendor.ask()
    assert caught.value.status == status
    assert len(vendor.asked_at) == 1


@pytest.mark.parametrize("error", [httpx.ConnectError("x"), httpx.ConnectTimeout("x"), httpx.ReadError("x")])
def test_a_vendor_out_of_reach_is_tried_again(error: Exception) -> None:
    assert Vendor([error, good()]).ask()[0] == TextDelta("Hi")


def test_it_gives_up_after_the_last_attempt_with_the_last_error() -> None:
    vendor = Vendor([httpx.Response(500), httpx.Response(502), httpx.Response(503), httpx.Response(529)])
    with pytest.raises(ProviderError) as caught:
        vendor.ask()
    assert caught.value.status == 529
    assert caught.value.__suppress_context__
    assert len(vendor.asked_at) == 4


def test_waits_have_full_jitter_under_a_doubling_ceiling() -> None:
    policy, rng = RetryPolicy(first_wait_secs=1, longest_wait_secs=4), random.Random(3)
    for attempt, ceiling in ((1, 1), (2, 2), (3, 4), (4, 4), (9, 4)):
        waits = [policy.wait_secs(attempt, rng) for _ in range(200)]
        assert 0 <= min(waits) < 0.1 * ceiling
        assert 0.9 * ceiling < max(waits) <= ceiling


def test_the_same_seed_waits_the_same() -> None:
    runs = [Vendor([httpx.Response(500)] * 2 + [good()], seed=5) for _ in range(2)]
    for vendor in runs:
        vendor.ask()
    assert runs[0].asked_at == runs[1].asked_at
    assert runs[0].asked_at[2] > 0


@pytest.mark.parametrize(
    "value", ["12", "12.0", formatdate(VIRTUAL_EPOCH + 12, usegmt=True)], ids=["seconds", "decimal", "date"]
)
def test_retry_after_is_honoured_in_both_forms(value: str) -> None:
    vendor = Vendor([httpx.Response(429, headers={"retry-after": value}), good()])
    vendor.ask()
    assert vendor.asked_at == [0, 12]


def test_a_delay_in_the_body_is_honoured_too() -> None:
    body = {"error": {"code": 429, "message": "slow down", "details": [{"retryDelay": "5s"}]}}
    vendor = Vendor([httpx.Response(429, json=body), good()])
    vendor.ask()
    assert vendor.asked_at == [0, 5]


@pytest.mark.parametrize("value", ["nonsense", "-5", "nan", "", "Thu, 99 Foo 2026"])
def test_a_retry_after_that_makes_no_sense_is_ignored(value: str) -> None:
    vendor = Vendor([httpx.Response(503, headers={"retry-after": value}), good()])
    assert vendor.ask()[0] == TextDelta("Hi")
    assert vendor.asked_at[1] < 1


def test_a_wait_longer_than_the_total_time_is_not_waited_for() -> None:
    vendor = Vendor([httpx.Response(429, headers={"retry-after": "3600"}), good()])
    with pytest.raises(ProviderRateLimitError) as caught:
        vendor.ask()
    assert caught.value.retry_after == 3600
    assert vendor.clock.now() == 0


def test_the_total_time_is_capped() -> None:
    policy = RetryPolicy(attempts=100, total_secs=30)
    vendor = Vendor([httpx.Response(503, headers={"retry-after": "9"})] * 100, policy=policy)
    with pytest.raises(ProviderError):
        vendor.ask()
    assert vendor.asked_at == [0, 9, 18, 27]


def test_a_spent_quota_is_not_waited_for() -> None:
    body = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    vendor = Vendor([httpx.Response(429, json=body), good()])
    with pytest.raises(ProviderRateLimitError, match="used up"):
        vendor.ask()
    assert len(vendor.asked_at) == 1


def test_nothing_is_tried_again_once_the_answer_has_begun() -> None:
    cut = (
        b'data: {"choices":[{"delta":{"content":"He"}}]}\n\n'
        b'data: {"error":{"message":"x","type":"overloaded_error"}}\n\n'
    )
    vendor = Vendor([httpx.Response(200, content=cut), good()])
    with pytest.raises(ProviderError) as caught:
        vendor.ask()
    assert caught.value.status == 529
    assert len(vendor.asked_at) == 1


def test_an_overloaded_vendor_that_says_so_in_the_stream_is_tried_again() -> None:
    early = b'data: {"error":{"message":"x","type":"overloaded_error"}}\n\n'
    assert Vendor([httpx.Response(200, content=early), good()]).ask()[0] == TextDelta("Hi")


def test_a_broken_answer_is_not_tried_again() -> None:
    vendor = Vendor([httpx.Response(200, content=b"data: {\n\n"), good()])
    with pytest.raises(ProviderStreamError):
        vendor.ask()
    assert len(vendor.asked_at) == 1


class Silence(httpx.AsyncByteStream):
    """Says something and then nothing more, for ever."""

    def __init__(self, clock: VirtualClock, said: bytes) -> None:
        self._clock, self._said = clock, said

    async def __aiter__(self):  # type: ignore[no-untyped-def]
        yield self._said
        await self._clock.sleep(1_000_000)


@pytest.mark.parametrize("said", [b"", b'data: {"choices":[{"delta":{"content":"He"}}]}\n\n'])
def test_a_silent_vendor_is_a_timeout_on_our_clock(said: bytes) -> None:
    vendor = Vendor([lambda: httpx.Response(200, stream=Silence(vendor.clock, said))])
    with pytest.raises(ProviderTimeoutError):
        vendor.ask()
    assert vendor.clock.now() == 60


def test_a_complete_answer_does_not_wait_for_a_body_that_stays_open() -> None:
    vendor = Vendor([lambda: httpx.Response(200, stream=Silence(vendor.clock, GOOD))])
    assert vendor.ask()[0] == TextDelta("Hi")
    assert vendor.clock.now() == 0.5


def test_an_answer_without_an_end_mark_is_complete_when_it_says_why_it_ended() -> None:
    vendor = Vendor([lambda: httpx.Response(200, stream=Silence(vendor.clock, GOOD[: GOOD.index(b"data: [DONE]")]))])
    assert vendor.ask()[0] == TextDelta("Hi")
    assert vendor.clock.now() == 2


def test_a_vendor_that_never_answers_is_a_timeout_and_not_tried_again() -> None:
    vendor = Vendor([NEVER, good()])
    with pytest.raises(ProviderTimeoutError):
        vendor.ask()
    assert vendor.clock.now() == 60
    assert len(vendor.asked_at) == 1


def test_a_key_that_cannot_be_one_is_refused_before_it_is_sent() -> None:
    vendor = Vendor([good()], key=Secret("sk-“quoted”-key"))
    with pytest.raises(ProviderAuthError) as caught:
        vendor.ask()
    assert "quoted" not in str(caught.value)
    assert not vendor.asked_at
