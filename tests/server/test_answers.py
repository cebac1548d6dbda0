"""What goes wrong is answered in the vendor's shapes, and never with a stack trace."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from convai_lab import settings
from convai_lab.errors import RateLimitError, StorageError

Make = Callable[..., Any]


async def test_an_unknown_route_is_a_404_that_names_it(bench: Make) -> None:
    async with bench().client() as client:
        answer = await client.get("/v1/convai/unicorns")
    assert answer.status_code == 404
    assert answer.json()["detail"]["status"] == "not_found"
    assert "GET /v1/convai/unicorns" in answer.json()["detail"]["message"]


async def test_a_wrong_method_is_a_405_that_names_the_right_ones(bench: Make) -> None:
    async with bench().client() as client:
        answer = await client.put("/v1/convai/agents")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    assert answer.json()["detail"]["status"] == "method_not_allowed"


class _Broken:
    """A store whose every method fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, _: str) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (RuntimeError("boom at /home/someone with sk-1234567890abcdefghij"), 500, "internal_error"),
        (StorageError("the file is locked"), 503, "storage_error"),
        (RateLimitError("slow down", retry_after=7), 429, "too_many_requests"),
    ],
)
async def test_faults_are_answered_in_shape(
    bench: Make, error: Exception, status: int, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    a_bench = bench()
    a_bench.platform.agents = _Broken(error)
    async with a_bench.client() as client:
        answer = await client.get("/v1/convai/agents")
    assert (answer.status_code, answer.json()["detail"]["status"]) == (status, word)
    if status == 500:
        assert "boom" not in answer.text
        assert "Traceback" not in answer.text
        incident = answer.json()["detail"]["message"].split()[-1]
        assert incident in caplog.text
    if status == 429:
        assert answer.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"{'a': 1}",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b"[" * 200_000,
        b'{"a":' * 200 + b"1" + b"}" * 200,
        b'{"name": "\\ud800"}',
        b'{"name": ' + b"9" * 6000 + b"}",
        b"\x00",
    ],
    ids=range(10),
)
async def test_bodies_that_are_no_json_we_can_keep_are_422(bench: Make, raw: bytes) -> None:
    async with bench().client() as client:
        answer = await client.post("/v1/convai/agents/create", content=raw)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body"]
    assert len(answer.text) < 500


async def test_a_body_over_ten_megabytes_is_413_however_it_is_sent(bench: Make) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(11 * 16):
            yield b" " * 65_536

    async with bench().client() as client:
        declared = await client.post("/v1/convai/agents/create", content=b" " * (10 * 1024 * 1024 + 1))
        streamed = await client.post("/v1/convai/agents/create", content=pieces())
    for answer in (declared, streamed):
        assert (answer.status_code, answer.json()["detail"]["status"]) == (413, "too_large")


async def test_texts_of_all_languages_travel_unharmed(bench: Make) -> None:
    name = "Zoë 👩‍🚀 שלום \u0000 \u2028 end"
    async with bench().client() as client:
        made = await client.post("/v1/convai/agents/create", json={"name": name, "conversation_config": {}})
        if made.status_code == 422:  # control characters may be refused, but never mangled
            name = name.replace("\u0000", "").replace("\u2028", "")
            made = await client.post("/v1/convai/agents/create", json={"name": name, "conversation_config": {}})
        got = await client.get(f"/v1/convai/agents/{made.json()['agent_id']}")
    assert got.json()["name"] == name


async def test_too_many_wrong_keys_are_slowed_down_but_never_the_right_one(bench: Make) -> None:
    a_bench = bench()
    async with a_bench.client(key="lab_wrong_key") as wrong:
        answers = [await wrong.get("/v1/user") for _ in range(40)]
    async with a_bench.client() as client:
        assert (await client.get("/v1/user")).status_code == 200
    assert {answer.status_code for answer in answers} == {401, 429}
    assert answers[-1].json()["detail"]["status"] == "too_many_requests"
    assert answers[-1].headers["retry-after"] == "1"


async def test_too_many_requests_without_a_key_are_slowed_down(bench: Make) -> None:
    a_bench = bench()
    path = f"/v1/convai/agents/{a_bench.make_agent()}/widget"
    async with a_bench.client(key=None) as client:
        codes = [(await client.get(path)).status_code for _ in range(80)]
    assert codes[0] == 200
    assert codes[-1] == 429


async def test_settings_are_taken_into_memory_and_only_their_presence_is_told(bench: Make) -> None:
    async with bench().client() as client:
        body = {"settings": {"OPENAI_API_KEY": "sk-planted-0123456789", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}}
        assert (await client.put("/v1/local/settings", json=body)).status_code == 204
        status = await client.get("/v1/local/status")
        assert status.json()["keys"]["OPENAI_API_KEY"] is True
        assert status.json()["keys"]["ANTHROPIC_API_KEY"] is False
        assert "planted" not in status.text
        assert settings.setting("OPENAI_BASE_URL") == "http://127.0.0.1:1/v1"
        assert (await client.put("/v1/local/settings", json={"settings": {}})).status_code == 204
        assert (await client.get("/v1/local/status")).json()["keys"]["OPENAI_API_KEY"] is False


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"settings": []},
        {"settings": {"PATH": "/bin"}},
        {"settings": {"OPENAI_API_KEY": 5}},
        {"settings": {"OPENAI_API_KEY": "sk-secret\nx: y"}},
        {"settings": {"OPENAI_API_KEY": "sk-secret" * 1000}},
    ],
)
async def test_wrong_settings_are_422_and_never_repeated(bench: Make, body: Any) -> None:
    async with bench().client() as client:
        answer = await client.put("/v1/local/settings", json=body)
    assert answer.status_code == 422
    assert "sk-secret" not in answer.text
    assert settings.setting("OPENAI_API_KEY") is None


async def test_the_catalogue_has_what_official_clients_ask_for(bench: Make) -> None:
    async with bench().client() as client:
        llms = (await client.get("/v1/convai/llm/list")).json()
        assert {"offline", "gpt-4o-mini"} <= {llm["llm"] for llm in llms["llms"]}
        assert "default_deprecation_config" in llms
        first = (await client.get("/v2/voices", params={"page_size": 10})).json()
        assert (len(first["voices"]), first["has_more"]) == (10, True)
        second = await client.get("/v2/voices", params={"page_size": 100, "next_page_token": first["next_page_token"]})
        ids = [voice["voice_id"] for voice in first["voices"] + second.json()["voices"]]
        assert len(set(ids)) == len(ids) == first["total_count"]
        george = (await client.get("/v2/voices", params={"search": "george"})).json()["voices"]
        assert [voice["name"] for voice in george] == ["George"]
        assert (await client.get(f"/v1/voices/{ids[0]}")).json()["voice_id"] == ids[0]
        assert (await client.get("/v1/voices/none")).json()["detail"]["status"] == "voice_not_found"
        assert (await client.get("/v2/voices", params={"next_page_token": "x"})).status_code == 422
        assert len((await client.get("/v1/voices")).json()["voices"]) == len(ids)
        assert (await client.get("/v1/user")).json()["subscription"]["status"] == "free"
        assert (await client.get("/v1/user/subscription")).json()["tier"] == "local"
        assert (await client.get("/v1/models")).json()[0]["model_id"].startswith("eleven_")
        usage = {"prompt_length": 1, "number_of_pages": 0, "rag_enabled": False}
        assert "llm_prices" in (await client.post("/v1/convai/llm-usage/calculate", json=usage)).json()
        assert (await client.post("/v1/convai/llm-usage/calculate", json={})).status_code == 422


def test_a_close_reason_fits_its_frame_in_every_language() -> None:
    from convai_lab.server.socket_events import close_reason

    for text in ("short", "x" * 500, "ü" * 500, "👩‍🚀" * 100, ""):
        assert len(close_reason(text).encode()) <= 123
    assert close_reason("short") == "short"


def test_answers_are_plain_ascii_json() -> None:
    from convai_lab.server.answers import json_answer

    body = bytes(json_answer({"text": "ü\ud800"}).body)
    assert body.isascii()
    assert json.loads(body)["text"][0] == "ü"
