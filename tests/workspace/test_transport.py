"""How a request reaches the platform, when it is repeated, and what its refusal says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from convai_lab import background
from convai_lab.clock import Clock
from convai_lab.errors import (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    PlatformError,
    RateLimitError,
)
from convai_lab.settings import Secret
from convai_lab.workspace.answers import MAX_ERROR_BYTES
from convai_lab.workspace.transport import FixedPlatform, Place, Transport

KEY = "a-secret-key-nobody-may-see-42"

Asked = list[httpx.Request]


def transport_over(answers: list[httpx.Response | Exception], clock: Clock, *, asked: Asked | None = None) -> Transport:
    """Return a transport whose platform gives these answers, the last one again and again."""

    def handle(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(request)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client() -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(handle))

    place = Place("https://platform.test", Secret(KEY))
    return Transport(FixedPlatform("elevenlabs", place), clock=clock, open_client=client)


def ask(transport: Transport, method: str = "GET", **more: Any) -> Any:
    return background.run(transport.request(method, "/v1/convai/agents", **more))


def test_a_request_carries_the_key_as_a_header_and_its_parameters(patient_clock: Clock) -> None:
    asked: Asked = []
    transport = transport_over([httpx.Response(200, json={"ok": True})], patient_clock, asked=asked)
    assert ask(transport, "POST", params={"page_size": 5, "x": None, "y": True}, json={"a": 1}) == {"ok": True}
    [request] = asked
    assert request.headers["xi-api-key"] == KEY
    assert str(request.url) == "https://platform.test/v1/convai/agents?page_size=5&y=true"
    assert json.loads(request.content) == {"a": 1}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, NotFoundError),
        (400, InvalidRequestError),
        (422, InvalidRequestError),
        (429, RateLimitError),
        (418, PlatformError),
        (500, PlatformError),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        b'{"detail":{"status":"x","message":"because so"}}',
        b'{"detail":"because so"}',
        b'{"error":{"message":"because so"}}',
        b'{"message":"because so"}',
        b"<html><head><title>because so</title></head><body>x</body></html>",
        b"because so",
    ],
)
def test_every_refusal_is_typed_and_says_what_the_platform_said(
    status: int, kind: type[PlatformError], body: bytes, patient_clock: Clock
) -> None:
    with pytest.raises(kind, match="because so") as raised:
        ask(transport_over([httpx.Response(status, content=body)], patient_clock))
    assert type(raised.value) is kind
    assert raised.value.status == status
    assert len(str(raised.value)) < 700


def test_a_redirect_is_not_followed_and_says_that_the_base_url_is_wrong(patient_clock: Clock) -> None:
    answer = httpx.Response(302, headers={"location": "https://elsewhere.test/"})
    with pytest.raises(PlatformError, match="it redirects, so the base URL is not quite right"):
        ask(transport_over([answer], patient_clock))


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"detail":null}', b'{"detail":[]}', b"\xff\xfe", b"<" * 90_000])
@pytest.mark.parametrize("status", [401, 404, 422, 429, 500])
def test_refusals_without_a_reason_are_typed_too(status: int, body: bytes, patient_clock: Clock) -> None:
    with pytest.raises(PlatformError, match=str(status)) as raised:
        ask(transport_over([httpx.Response(status, content=body)], patient_clock))
    assert raised.value.status == status


def test_a_422_names_every_field(patient_clock: Clock) -> None:
    detail = [{"loc": ["body", "conversation_config", "tts", "speed"], "msg": "too fast", "type": "le"}, "nonsense"]
    with pytest.raises(InvalidRequestError, match=r"conversation_config\.tts\.speed: too fast") as raised:
        ask(transport_over([httpx.Response(422, json={"detail": detail})], patient_clock))
    assert [problem.field for problem in raised.value.problems] == ["conversation_config.tts.speed"]


def test_a_huge_error_body_is_cut(patient_clock: Clock) -> None:
    answer = httpx.Response(500, content=b"x" * (MAX_ERROR_BYTES * 10))
    with pytest.raises(PlatformError) as raised:
        ask(transport_over([answer], patient_clock), "POST")
    assert len(raised.value.body) <= MAX_ERROR_BYTES
    assert len(str(raised.value)) < 700


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"{", b"nope", b"[" * 200_000])
def test_an_answer_that_is_not_json_is_an_error_in_words(body: bytes, patient_clock: Clock) -> None:
    with pytest.raises(PlatformError, match="is not JSON; is the base URL"):
        ask(transport_over([httpx.Response(200, content=body)], patient_clock))


@pytest.mark.parametrize("answer", [b"[1]", b"null", b"", b"5", b'"x"'])
def test_an_answer_that_should_be_an_object_is_checked(answer: bytes, patient_clock: Clock) -> None:
    transport = transport_over([httpx.Response(200, content=answer)], patient_clock)
    with pytest.raises(PlatformError, match="instead of a JSON object"):
        background.run(transport.document("GET", "/v1/convai/agents"))


def test_an_empty_answer_is_none(patient_clock: Clock) -> None:
    assert ask(transport_over([httpx.Response(204)], patient_clock), "DELETE") is None


def test_a_rate_limit_is_waited_for_as_long_as_the_platform_says(patient_clock: Any) -> None:
    answers: list[Any] = [httpx.Response(429, headers={"retry-after": "7"}), httpx.Response(200, json=1)]
    assert ask(transport_over(answers, patient_clock), "POST", json={}) == 1
    assert patient_clock.slept == [7.0]


def test_a_rate_limit_beyond_the_cap_is_an_error_that_says_how_long(patient_clock: Any) -> None:
    with pytest.raises(RateLimitError, match="try again in 3600 s") as raised:
        ask(transport_over([httpx.Response(429, headers={"retry-after": "3600"})], patient_clock))
    assert raised.value.retry_after == 3600
    assert patient_clock.slept == []


@pytest.mark.parametrize("value", ["soon", "-5", "", "1e999", "nan", "Wed, 99 Foo"])
def test_a_nonsense_retry_after_is_as_good_as_none(value: str, patient_clock: Any) -> None:
    answers: list[Any] = [httpx.Response(429, headers={"retry-after": value}), httpx.Response(200, json=1)]
    assert ask(transport_over(answers, patient_clock)) == 1
    assert all(0 <= secs <= 30 for secs in patient_clock.slept)


def test_reading_is_tried_three_times_after_server_errors(patient_clock: Any) -> None:
    asked: Asked = []
    with pytest.raises(PlatformError, match="status 503"):
        ask(transport_over([httpx.Response(503)], patient_clock, asked=asked))
    assert len(asked) == 3
    assert len(patient_clock.slept) == 2
    assert patient_clock.slept[0] < patient_clock.slept[1] < 2


@pytest.mark.parametrize("answer", [httpx.Response(500), httpx.Response(503), httpx.ReadError("cut")])
def test_a_post_that_may_have_arrived_is_never_sent_again(answer: Any, patient_clock: Clock) -> None:
    asked: Asked = []
    with pytest.raises(PlatformError):
        ask(transport_over([answer], patient_clock, asked=asked), "POST", json={})
    assert len(asked) == 1


def test_a_post_that_never_arrived_is_sent_again(patient_clock: Clock) -> None:
    answers: list[Any] = [httpx.ConnectError("refused"), httpx.Response(200, json=1)]
    assert ask(transport_over(answers, patient_clock), "POST", json={}) == 1


def test_a_time_out_is_not_waited_for_twice(patient_clock: Clock) -> None:
    asked: Asked = []
    with pytest.raises(PlatformError, match="did not answer in time"):
        ask(transport_over([httpx.ReadTimeout("slow")], patient_clock, asked=asked))
    assert len(asked) == 1


def test_a_delete_that_arrived_before_the_connection_was_cut_has_done_its_work(patient_clock: Clock) -> None:
    answers: list[Any] = [httpx.ReadError("cut"), httpx.Response(404, json={"detail": "gone"})]
    assert ask(transport_over(answers, patient_clock), "DELETE") is None


def test_a_delete_of_what_is_not_there_is_an_error(patient_clock: Clock) -> None:
    with pytest.raises(NotFoundError):
        ask(transport_over([httpx.Response(404, json={"detail": "gone"})], patient_clock), "DELETE")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(401, json={"detail": f"the key {KEY} is wrong"}),
        httpx.Response(422, json={"detail": [{"loc": ["header", KEY], "msg": f"bad {KEY}"}]}),
        httpx.Response(500, text=f"<title>{KEY}</title>"),
        httpx.Response(200, text=f"not json {KEY}"),
        httpx.ConnectError(f"could not connect with {KEY}"),
        httpx.ReadError(f"header xi-api-key: {KEY}"),
    ],
)
def test_the_key_is_in_no_error(answer: Any, patient_clock: Clock) -> None:
    with pytest.raises(PlatformError) as raised:
        ask(transport_over([answer], patient_clock))
    shown = f"{raised.value!s} {raised.value!r} {raised.value.body!r} {vars(raised.value)} {raised.value.__cause__!r}"
    assert KEY not in shown


def test_the_key_is_in_no_repr(patient_clock: Clock) -> None:
    transport = transport_over([httpx.Response(200)], patient_clock)
    assert KEY not in repr(transport.platform)
    assert KEY not in repr(background.run(transport.locate()))


def stream(make: Callable[[], httpx.Response], clock: Clock) -> list[bytes]:
    transport = transport_over([make()], clock)

    async def read() -> list[bytes]:
        return [line async for line in transport.lines("/v1/local/conversations.ndjson")]

    return background.run(read())


def test_lines_end_at_line_feeds_alone(patient_clock: Clock) -> None:
    body = '{"a":"x\u2028y"}\n\n{"b":"\x85"}'.encode()
    assert stream(lambda: httpx.Response(200, content=body), patient_clock) == body.split(b"\n\n")


def test_a_refused_stream_is_a_typed_error(patient_clock: Clock) -> None:
    with pytest.raises(AuthenticationError):
        stream(lambda: httpx.Response(401, json={"detail": "no"}), patient_clock)
