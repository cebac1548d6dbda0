"""Local servers: which model servers run on this machine, and what do they offer?"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard
from urllib.parse import urlsplit

from convai_lab.clock import Clock, SystemClock
from convai_lab.errors import ConvaiLabError

if TYPE_CHECKING:
    import httpx

LONGEST_LIST_BYTES = 1 << 20
MOST_MODELS = 200
LONGEST_NAME = 200

PLACES: Mapping[str, str] = {
    "ollama": "http://127.0.0.1:11434/v1",
    "lmstudio": "http://127.0.0.1:1234/v1",
    "llamacpp": "http://127.0.0.1:8080/v1",
    "vllm": "http://127.0.0.1:8000/v1",
}
"""Where the servers listen unless they are told otherwise; `registry` calls them at the same addresses."""


class LocalServer(NamedTuple):
    """A model server on this machine: its provider name, its base URL, and the models it lists."""

    name: str
    base_url: str
    models: tuple[str, ...]

    @property
    def llms(self) -> tuple[str, ...]:
        """Return the models as they are named after ``--llm``."""
        return tuple(f"{self.name}/{model}" for model in self.models)


async def find_local_servers(
    timeout_secs: float = 0.3, *, places: Mapping[str, str] = PLACES, clock: Clock | None = None
) -> list[LocalServer]:
    """Ask the usual ports at once which models they offer; whoever does not answer so, or in time, is not there.

    Where nobody listens, nothing is loaded that could ask: `%lab` has half a second, and loading it takes the most.
    """
    time = clock or SystemClock()
    open_ports = await asyncio.gather(*(_listens(base_url, time, timeout_secs) for base_url in places.values()))
    listening = [place for place, is_open in zip(places.items(), open_ports, strict=True) if is_open]
    if not listening:
        return []
    from convai_lab import http

    async with http.new_client(timeout=timeout_secs) as client:
        found = await asyncio.gather(
            *(_ask(client, name, base_url, time, timeout_secs) for name, base_url in listening)
        )
    return [server for server in found if server is not None]


async def list_models(
    client: httpx.AsyncClient,
    url: str,
    *,
    clock: Clock,
    timeout_secs: float,
    headers: Mapping[str, str] | None = None,
) -> tuple[str, ...] | None:
    """Return the models that an OpenAI-compatible server lists at `url`, None when it does not answer so."""
    import httpx

    from convai_lab import http

    body = b""
    with contextlib.suppress(httpx.HTTPError, httpx.InvalidURL, ConvaiLabError, TimeoutError):
        async with clock.timeout(timeout_secs), client.stream("GET", url, headers=headers) as response:
            if response.status_code == httpx.codes.OK:
                body = await http.read_limited(response, LONGEST_LIST_BYTES)
    return _models(body)


async def _listens(base_url: str, clock: Clock, timeout_secs: float) -> bool:
    address = urlsplit(base_url)
    with contextlib.suppress(OSError, TimeoutError):
        async with clock.timeout(timeout_secs):
            _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.close()
        return True
    return False


async def _ask(
    client: httpx.AsyncClient, name: str, base_url: str, clock: Clock, timeout_secs: float
) -> LocalServer | None:
    models = await list_models(client, f"{base_url}/models", clock=clock, timeout_secs=timeout_secs)
    return None if models is None else LocalServer(name, base_url, models)


def _models(body: bytes) -> tuple[str, ...] | None:
    """Return the names in a list of models, None when it is not one: something else listens there."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    listed = document.get("data") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        return None
    names = [item.get("id") for item in listed[:MOST_MODELS] if isinstance(item, dict)]
    return tuple(dict.fromkeys(name for name in names if _is_name(name)))


def _is_name(name: Any) -> TypeGuard[str]:
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable() and " " not in name
