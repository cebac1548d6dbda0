"""Registry: which vendor answers to a model's name, with which key, at which address?"""

from __future__ import annotations

import importlib
import ipaddress
import os
import re
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlsplit

from convai_lab.agents.agent import CustomLLM
from convai_lab.clock import Clock, SystemClock
from convai_lab.errors import InvalidValueError, ModelNotFoundError, NotSupportedError
from convai_lab.providers.base import LLM
from convai_lab.providers.cassette import cassette_in_use
from convai_lab.providers.models import ModelInfo, hosted_names, known_models, model_names
from convai_lab.providers.refusal import close_names
from convai_lab.settings import Secret, find_key, remember_secret, require_key, setting

if TYPE_CHECKING:
    import httpx

    from convai_lab.providers.retry import RetryPolicy

__all__ = [
    "VENDORS",
    "ModelInfo",
    "Vendor",
    "aclose_clients",
    "find_live_llm",
    "find_llm",
    "known_models",
    "load_adapter",
    "parse_model",
    "shared_client",
    "vendor_base_url",
    "vendor_key",
]

ENTRY_POINT_GROUP = "convai_lab.providers"
CONNECT_SECS = 10.0
READ_SECS = 120.0
"""Longer than the adapters wait, so that their own clock decides."""
LONGEST_NAME = 300

_SECRET_HEADER = re.compile(r"auth|key|token|secret|cookie", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """One row of the table: how a provider is found, loaded, addressed and paid.

    Args:
        name: The provider's name, also the prefix in ``provider/model``.
        adapter: ``module:class``, loaded on first use.
        pattern: What a bare model name of this vendor looks like.
        keys: The environment variables that may hold its key.
        base_url: Where it is, unless the variable `base_url_variable` says otherwise.
        needs_key: A key is required (on loopback it never is).
        aliases: Other prefixes that mean the same.
    """

    name: str
    adapter: str = "convai_lab.providers.openai_compatible:OpenAICompatibleLLM"
    pattern: str = ""
    keys: tuple[str, ...] = ()
    base_url: str = ""
    base_url_variable: str = ""
    needs_key: bool = False
    aliases: tuple[str, ...] = ()

    def claims(self, model: str) -> bool:
        """Say whether a bare name looks like one of this vendor's models."""
        return bool(self.pattern) and re.match(self.pattern, model, re.IGNORECASE) is not None


VENDORS: Mapping[str, Vendor] = {
    vendor.name: vendor
    for vendor in (
        Vendor(
            name="openai",
            pattern=r"gpt-(?!oss)|o[1-9](?:-|$)|chatgpt-|ft:(?:gpt-|o[1-9])",
            keys=("OPENAI_API_KEY",),
            base_url="https://api.openai.com/v1",
            base_url_variable="OPENAI_BASE_URL",
            needs_key=True,
        ),
        Vendor(
            name="anthropic",
            adapter="convai_lab.providers.anthropic:AnthropicLLM",
            pattern=r"claude(?:-|$)",
            keys=("ANTHROPIC_API_KEY",),
            base_url="https://api.anthropic.com",
            base_url_variable="ANTHROPIC_BASE_URL",
            needs_key=True,
        ),
        Vendor(
            name="google",
            adapter="convai_lab.providers.gemini:GeminiLLM",
            pattern=r"(?:models/)?(?:gemini|gemma|learnlm)(?:-|$)",
            keys=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
            base_url="https://generativelanguage.googleapis.com",
            base_url_variable="GOOGLE_GEMINI_BASE_URL",
            needs_key=True,
            aliases=("gemini",),
        ),
        Vendor(name="ollama", base_url="http://127.0.0.1:11434/v1"),
        Vendor(name="lmstudio", base_url="http://127.0.0.1:1234/v1", aliases=("lm-studio",)),
        Vendor(name="llamacpp", base_url="http://127.0.0.1:8080/v1", aliases=("llama.cpp", "llama-cpp")),
        Vendor(name="vllm", base_url="http://127.0.0.1:8000/v1"),
        Vendor(name="custom-llm", pattern=r"custom-llm$"),
        Vendor(name="offline", adapter="convai_lab.providers.offline_llm:OfflineLLM", pattern=r"offline$"),
    )
}
"""The providers built in; packages add more under the entry point group ``convai_lab.providers``."""


class ModelName(NamedTuple):
    """A model's name taken apart: who offers it, and what to send."""

    provider: str
    model: str


def parse_model(model: str) -> ModelName:
    """Return the provider and the name to send, which is the name as written, without a ``provider/`` before it.

    Example:
        >>> parse_model("gpt-4o"), parse_model("ollama/llama3.2")
        (ModelName(provider='openai', model='gpt-4o'), ModelName(provider='ollama', model='llama3.2'))

    Raises:
        InvalidValueError: The name is empty or cannot be a name.
        ModelNotFoundError: No known vendor offers a model of that name.
        NotSupportedError: Only the vendor platform's cloud offers it.
    """
    name = _checked(model)
    if name.lower() in hosted_names():
        raise NotSupportedError(
            f"{name} is hosted by ElevenLabs and runs on its cloud only: connect to elevenlabs, or run it here with "
            "a local server (ollama/<model>) and name that"
        )
    for vendor in VENDORS.values():
        if vendor.claims(name):
            return ModelName(vendor.name, name.removeprefix("models/") if vendor.name == "google" else name)
    prefix, slash, rest = name.partition("/")
    if slash and rest and (provider := _provider_named(prefix.lower())):
        return ModelName(provider, rest)
    raise _unknown(name)


def find_llm(
    model: str,
    *,
    custom: CustomLLM | None = None,
    clock: Clock | None = None,
    own_ports: Collection[int] = (),
    retry: RetryPolicy | None = None,
) -> LLM:
    """Return the language model of that name, ready to stream; behind the cassette, where one is in use.

    Args:
        custom: Where ``custom-llm`` is; needed for that name only.
        retry: How often a built-in adapter asks again when the vendor is busy, instead of what is usual.
        own_ports: Ports of this machine that a custom model must never be on.

    Raises:
        MissingKeyError: The vendor's key is not set; names the variable.
        ModelNotFoundError: No known vendor offers a model of that name.
        InvalidValueError: The name or an address is not one.
        ForbiddenAddressError: The custom model is at an address that must not be called.
    """

    def find() -> LLM:
        return find_live_llm(model, custom=custom, clock=clock, own_ports=own_ports, retry=retry)

    name, cassette = parse_model(model), cassette_in_use()
    if cassette is None or name.provider == "offline":
        return find()
    sent = custom.model if custom is not None and name.provider == "custom-llm" and custom.model else name.model
    at = custom.url if custom is not None and name.provider == "custom-llm" else ""
    now = None if clock is None else clock.now
    return cassette.llm_named(
        name.provider, sent, find=find, at=at, now=now, outside=clock is None or isinstance(clock, SystemClock)
    )


def find_live_llm(
    model: str,
    *,
    custom: CustomLLM | None = None,
    clock: Clock | None = None,
    own_ports: Collection[int] = (),
    retry: RetryPolicy | None = None,
) -> LLM:
    """Return the language model itself, never behind a cassette; see `find_llm`."""
    name, time = parse_model(model), clock or SystemClock()
    if name.provider == "custom-llm":
        return _custom_llm(name, custom, clock=time, own_ports=own_ports, retry=retry)
    vendor = VENDORS.get(name.provider)
    if vendor is None:
        return _outside_llm(name, clock=time)
    if vendor.name == "offline":
        return cast(LLM, load_adapter(vendor)(name.model, api_key=None, http=None, clock=time))
    base_url = vendor_base_url(vendor)
    key = vendor_key(vendor, base_url, needed_for=model)
    adapter = load_adapter(vendor)
    http = shared_client(base_url)
    more = {"provider": vendor.name, "base_url": base_url, "retry": retry}
    return cast(LLM, adapter(name.model, api_key=key, http=http, clock=time, **more))


def load_adapter(vendor: Vendor) -> Callable[..., Any]:
    """Import the adapter's class and return it."""
    module, _, name = vendor.adapter.partition(":")
    return cast(Callable[..., Any], getattr(importlib.import_module(module), name))


async def aclose_clients() -> None:
    """Close every connection to vendors; the next `find_llm` makes new ones."""
    with _lock:
        clients = list(_clients.values())
        _clients.clear()
    for client in clients:
        await client.aclose()


_clients: dict[tuple[int, str, tuple[int, ...]], httpx.AsyncClient] = {}
"""By process (a forked child must not share sockets), address, and the ports it must not call."""
_lock = threading.Lock()


def shared_client(base_url: str, *, guarded: bool = False, own_ports: Collection[int] = ()) -> httpx.AsyncClient:
    """Return the one client for an address; it keeps the connections of each event loop apart."""
    import httpx

    from convai_lab import http

    slot = (os.getpid(), ("guarded " if guarded else "") + base_url, tuple(sorted(own_ports)))
    timeout = httpx.Timeout(READ_SECS, connect=CONNECT_SECS)
    with _lock:
        client = _clients.get(slot)
        if client is None or client.is_closed:
            client = (
                http.guarded_client(base_url, own_ports=own_ports, timeout=timeout)
                if guarded
                else http.new_client(timeout=timeout)
            )
            _clients[slot] = client
        return client


def _custom_llm(
    name: ModelName, custom: CustomLLM | None, *, clock: Clock, own_ports: Collection[int], retry: RetryPolicy | None
) -> LLM:
    if custom is None or not custom.url:
        raise InvalidValueError(
            "custom-llm needs the URL of an OpenAI-compatible server: set custom_llm=CustomLLM(url=...)",
            field="custom_llm.url",
        )
    _check_url(custom.url, field="custom_llm.url")
    adapter = load_adapter(VENDORS["custom-llm"])
    variable = custom.api_key_variable
    key = require_key(variable, needed_for=f"custom-llm at {urlsplit(custom.url).hostname}") if variable else None
    http = shared_client(custom.url, guarded=True, own_ports=own_ports)
    return cast(
        LLM,
        adapter(
            custom.model or ("" if name.model == "custom-llm" else name.model),
            api_key=key,
            http=http,
            clock=clock,
            provider="custom-llm",
            base_url=custom.url,
            headers=_plain_headers(custom.headers),
            retry=retry,
        ),
    )


def _plain_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    for name, value in headers.items():
        if not isinstance(value, str):
            raise NotSupportedError(
                f"custom_llm.headers.{name} refers to a secret of the cloud, which only the cloud can read: give the "
                "value itself, or use api_key_variable"
            )
        if not (name.isascii() and name.isprintable() and value.isascii() and value.isprintable()):
            raise InvalidValueError("must be one line of ASCII text", field=f"custom_llm.headers.{name!r}")
        if _SECRET_HEADER.search(name):
            remember_secret(value.rpartition(" ")[2])
    return {name: str(value) for name, value in headers.items()}


def _outside_llm(name: ModelName, *, clock: Clock) -> LLM:
    """Load an adapter of another package: it says by class attributes where it is and which key it needs."""
    adapter = _entry_points()[name.provider]()
    base_url = str(getattr(adapter, "default_base_url", "") or "")
    variable = str(getattr(adapter, "key_variable", "") or "")
    key = require_key(variable, needed_for=f"{name.provider}/{name.model}") if variable else None
    return cast(LLM, adapter(name.model, api_key=key, http=shared_client(base_url), clock=clock))


def _entry_points() -> dict[str, Callable[[], Any]]:
    from importlib.metadata import entry_points

    return {point.name: point.load for point in entry_points(group=ENTRY_POINT_GROUP)}


def _provider_named(prefix: str) -> str | None:
    for vendor in VENDORS.values():
        if prefix == vendor.name or prefix in vendor.aliases:
            return vendor.name
    return prefix if prefix in _entry_points() else None


def vendor_base_url(vendor: Vendor) -> str:
    """Return where the vendor is: what its variable says, else its own address."""
    set_to = setting(vendor.base_url_variable) if vendor.base_url_variable else None
    if set_to is None:
        return vendor.base_url
    _check_url(set_to, field=vendor.base_url_variable)
    return set_to


def _check_url(url: str, *, field: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or not url.isprintable() or " " in url:
        raise InvalidValueError("is not a web address; it must look like http://host:port/v1", field=field)


def vendor_key(vendor: Vendor, base_url: str, *, needed_for: str) -> Secret | None:
    """Return the vendor's key, or None where none is set and none is needed.

    Raises:
        MissingKeyError: The vendor needs a key and none is set; names the variable.
    """
    if not vendor.keys:
        return None
    if vendor.needs_key and not _is_loopback(base_url):
        return require_key(*vendor.keys, needed_for=needed_for)
    return find_key(*vendor.keys)


def _is_loopback(url: str) -> bool:
    host = (urlsplit(url).hostname or "").lower()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _checked(model: object) -> str:
    if not isinstance(model, str) or not model.strip():
        raise InvalidValueError("a model's name is needed, such as gpt-4o-mini or offline", field="llm")
    name = model.strip()
    if len(name) > LONGEST_NAME or not name.isprintable() or any(c.isspace() for c in name):
        raise InvalidValueError("a model's name is one word of at most 300 characters", field="llm")
    return name


def _unknown(name: str) -> ModelNotFoundError:
    prefix, slash, rest = name.partition("/")
    close = close_names(rest if slash else name, model_names())
    if slash:
        advice = f"no provider is called {prefix!r}; there are " + ", ".join(sorted(VENDORS))
    else:
        advice = f"no vendor is known for the model {name!r}; write provider/model (ollama/{name}) or use custom-llm"
    return ModelNotFoundError(advice, provider="llm", model=name, suggestions=close)
