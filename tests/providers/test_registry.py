"""A model's name finds its vendor, its key and its address, or a sentence that helps."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from convai_lab import settings
from convai_lab.agents.agent import CustomLLM
from convai_lab.errors import (
    ForbiddenAddressError,
    InvalidValueError,
    MissingKeyError,
    ModelNotFoundError,
    NotSupportedError,
    ProviderAuthError,
)
from convai_lab.providers.base import LLM, ChatMessage, ChatRequest, LLMEvent, TextDelta
from convai_lab.providers.registry import aclose_clients, find_llm, known_models, parse_model
from convai_lab.testing.fake_vendors import BadKey, FakeVendor, fake_anthropic, fake_gemini, fake_openai

Read = Callable[[LLM, ChatRequest], Awaitable[list[LLMEvent]]]
HELLO = ChatRequest(messages=[ChatMessage(role="user", content="Hi")])


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    await aclose_clients()


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("gpt-4o", "openai"),
        ("gpt-4o-mini", "openai"),
        ("gpt-4-turbo", "openai"),
        ("claude-3-5-sonnet", "anthropic"),
        ("claude-3-5-haiku", "anthropic"),
        ("gemini-1.5-pro", "google"),
        ("gemini-1.5-flash", "google"),
        ("GPT-4o", "openai"),
        ("o1", "openai"),
        ("o3-mini", "openai"),
        ("chatgpt-4o-latest", "openai"),
        ("ft:gpt-4o-mini:org::id", "openai"),
        ("claude-sonnet-4@20250514", "anthropic"),
        ("gemma-3-27b-it", "google"),
        ("offline", "offline"),
        ("custom-llm", "custom-llm"),
    ],
)
def test_a_bare_name_reaches_its_vendor_as_written(name: str, provider: str) -> None:
    assert parse_model(name) == (provider, name)


@pytest.mark.parametrize(
    ("name", "provider", "model"),
    [
        ("ollama/llama3.2", "ollama", "llama3.2"),
        ("ollama/gpt-oss:20b", "ollama", "gpt-oss:20b"),
        ("Ollama/Qwen3", "ollama", "Qwen3"),
        ("vllm/meta-llama/Llama-3.1-8B", "vllm", "meta-llama/Llama-3.1-8B"),
        ("lmstudio/x", "lmstudio", "x"),
        ("lm-studio/x", "lmstudio", "x"),
        ("llamacpp/x", "llamacpp", "x"),
        ("llama.cpp/x", "llamacpp", "x"),
        ("openai/o9", "openai", "o9"),
        ("anthropic/claude-x", "anthropic", "claude-x"),
        ("google/gemini-x", "google", "gemini-x"),
        ("gemini/gemini-x", "google", "gemini-x"),
        ("models/gemini-1.5-pro", "google", "gemini-1.5-pro"),
        (" gpt-4o\n", "openai", "gpt-4o"),
    ],
)
def test_a_prefix_names_the_provider(name: str, provider: str, model: str) -> None:
    assert parse_model(name) == (provider, model)


def test_every_name_of_the_platform_has_a_vendor_or_a_reason() -> None:
    for model in known_models():
        if model.provider == "elevenlabs":
            with pytest.raises(NotSupportedError, match="cloud only"):
                parse_model(model.name)
        else:
            assert parse_model(model.name) == (model.provider, model.name)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("gtp-4o-mini", "gpt-4o-mini"), ("cluade-sonnet-5", "claude-sonnet-5"), ("ofline", "offline")],
)
def test_a_slip_of_the_finger_is_answered_with_what_was_meant(name: str, suggestion: str) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        parse_model(name)
    assert suggestion in caught.value.suggestions
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["llama3.2", "nobody/llama", "ollama/", "/x", "gpt-oss:20b", "../etc", "o", "gpt"])
def test_an_unknown_vendor_is_a_sentence(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no (vendor|provider)"):
        find_llm(name)


@pytest.mark.parametrize("name", ["", "  ", "a b", "gpt-4o\x00", "x" * 301, None, 7, "gpt\n4o"])
def test_what_cannot_be_a_name_is_refused(name: Any) -> None:
    with pytest.raises(InvalidValueError, match="llm"):
        parse_model(name)


@pytest.mark.parametrize(
    ("model", "variable"),
    [("gpt-4o", "OPENAI_API_KEY"), ("claude-x", "ANTHROPIC_API_KEY"), ("gemini-x", "GOOGLE_API_KEY or GEMINI_API_KEY")],
)
def test_a_missing_key_is_named(model: str, variable: str) -> None:
    with pytest.raises(MissingKeyError, match="offline") as caught:
        find_llm(model)
    assert caught.value.variable == variable
    assert model in str(caught.value)


@pytest.mark.parametrize(
    ("fake", "model"), [(fake_openai, "gpt-4o"), (fake_anthropic, "claude-3-5-haiku"), (fake_gemini, "gemini-1.5-pro")]
)
async def test_base_urls_and_keys_come_from_the_settings(
    fake: Callable[..., FakeVendor], model: str, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake(["Hi"]) as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        assert (await read(find_llm(model), HELLO))[0] == TextDelta("Hi")
        assert server.key in str(server.requests[0].headers)
        assert model in str(server.requests[0].body) + server.requests[0].path


async def test_gemini_takes_either_key_and_settings_of_the_notebook_win(read: Read, monkeypatch: Any) -> None:
    with fake_gemini(["Hi"]) as server:
        monkeypatch.setenv("GEMINI_API_KEY", "key-from-the-environment")
        settings.use_provider_settings(
            {"GOOGLE_GEMINI_BASE_URL": server.base_url, "GEMINI_API_KEY": "key-from-the-notebook"}
        )
        await read(find_llm("gemini-x"), HELLO)
        assert server.requests[0].headers["x-goog-api-key"] == "key-from-the-notebook"


async def test_on_loopback_no_key_is_needed(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_openai(["Hi"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url.replace("127.0.0.1", "localhost"))
        await read(find_llm("gpt-4o"), HELLO)
        assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://x/v1", "http://", "http://[::1", "http://x:99999/v1", "http://a b/"]
)
def test_a_base_url_that_is_none_names_its_variable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(InvalidValueError, match="OPENAI_BASE_URL"):
        find_llm("gpt-4o")


@pytest.mark.parametrize("tail", ["", "/", "/chat/completions", "/chat/completions?api-version=1", "?api-version=1"])
async def test_a_custom_model_is_called_at_its_url_however_it_is_written(tail: str, read: Read) -> None:
    with fake_openai(["Hi"]) as server:
        custom = CustomLLM(url=server.base_url + tail, model="mine", headers={"x-tenant": "a"})
        llm = find_llm("custom-llm", custom=custom)
        assert (await read(llm, HELLO))[0] == TextDelta("Hi")
        request = server.requests[0]
    assert (llm.provider, request.path, request.body["model"]) == ("custom-llm", "/v1/chat/completions", "mine")
    assert request.headers["x-tenant"] == "a"
    assert request.query == ({"api-version": "1"} if "?" in tail else {})


async def test_a_custom_model_without_a_name_sends_none(read: Read) -> None:
    with fake_openai(["Hi"]) as server:
        await read(find_llm("custom-llm", custom=CustomLLM(url=server.base_url)), HELLO)
        assert "model" not in server.requests[0].body


async def test_the_key_of_a_custom_model_is_in_the_variable_it_names(read: Read, monkeypatch: Any) -> None:
    with fake_openai(["Hi"]) as server:
        custom = CustomLLM(url=server.base_url, api_key_variable="MY_MODEL_KEY")
        with pytest.raises(MissingKeyError, match="MY_MODEL_KEY"):
            find_llm("custom-llm", custom=custom)
        monkeypatch.setenv("MY_MODEL_KEY", "my-own-secret-key")
        await read(find_llm("custom-llm", custom=custom), HELLO)
        assert server.requests[0].headers["authorization"] == "Bearer my-own-secret-key"


@pytest.mark.parametrize("custom", [None, CustomLLM(url=""), CustomLLM(url="nonsense"), CustomLLM(url="file:///etc")])
def test_a_custom_model_needs_a_url(custom: CustomLLM | None) -> None:
    with pytest.raises(InvalidValueError, match=r"custom_llm\.url"):
        find_llm("custom-llm", custom=custom)


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"a": {"secret_id": "s"}}, NotSupportedError),
        ({"a": "x\r\ny: z"}, InvalidValueError),
        ({"a": "ü"}, InvalidValueError),
    ],
)
def test_headers_of_a_custom_model_must_be_plain(headers: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"custom_llm\.headers"):
        find_llm("custom-llm", custom=CustomLLM(url="http://127.0.0.1:9/v1", headers=headers))


async def test_a_key_among_the_headers_is_never_shown(read: Read) -> None:
    headers = {"Authorization": "Bearer tenant-0123456789", "x-api-token": "other-0123456789"}
    with fake_openai([BadKey("no: tenant-0123456789, other-0123456789")]) as server:
        llm = find_llm("custom-llm", custom=CustomLLM(url=server.base_url, headers=headers))
        with pytest.raises(ProviderAuthError) as caught:
            await read(llm, HELLO)
        assert server.requests[0].headers["authorization"] == "Bearer tenant-0123456789"
    assert "0123456789" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/v1", "http://[::ffff:169.254.169.254]/v1", "http://2852039166/"]
)
def test_a_custom_model_is_never_at_a_metadata_address(url: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        find_llm("custom-llm", custom=CustomLLM(url=url))


async def test_a_custom_model_is_never_on_our_own_port(read: Read) -> None:
    with fake_openai(["Hi"]) as server:
        port = int(server.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
        with pytest.raises(ForbiddenAddressError):
            await read(find_llm("custom-llm", custom=CustomLLM(url=server.base_url), own_ports=[port]), HELLO)
        assert not server.requests


def test_the_offline_model_needs_nothing() -> None:
    llm = find_llm("offline")
    assert (llm.provider, llm.model, llm.is_offline) == ("offline", "offline", True)


def test_one_address_has_one_client_for_every_event_loop(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_openai(["a", "b", "c"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        first, second = find_llm("gpt-4o"), find_llm("gpt-4o-mini")
        assert first._http is second._http  # type: ignore[attr-defined]
        for llm in (first, second, first):
            assert asyncio.run(read(llm, HELLO))[0]  # type: ignore[arg-type]


async def test_after_closing_the_clients_new_ones_are_made(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_openai(["a", "b"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        for _ in range(2):
            await read(find_llm("gpt-4o"), HELLO)
            await aclose_clients()
        assert server.connections == 2


def test_another_package_adds_a_provider(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme_llm.py").write_text(
        "from convai_lab.providers.openai_compatible import OpenAICompatibleLLM\n"
        "class AcmeLLM(OpenAICompatibleLLM):\n"
        "    provider, key_variable, default_base_url = 'acme', 'ACME_KEY', 'http://acme.invalid/v1'\n"
    )
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[convai_lab.providers]\nacme = acme_llm:AcmeLLM\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingKeyError, match="ACME_KEY"):
        find_llm("acme/big-1")
    monkeypatch.setenv("ACME_KEY", "acme-secret-key")
    llm = find_llm("acme/big-1")
    assert (llm.provider, llm.model) == ("acme", "big-1")


def test_the_registry_loads_no_adapter_and_no_http_client() -> None:
    code = (
        "import sys; from convai_lab.providers.registry import parse_model, known_models; parse_model('gpt-4o');"
        "known_models(); heavy = {'httpx', 'aiohttp', 'pydantic', 'convai_lab.providers.openai_compatible'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
