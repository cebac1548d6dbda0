"""Guarded transport: how do the address rules reach every request, redirect and resolved name?"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import httpx
from aiohttp.abc import AbstractResolver, ResolveResult

from convai_lab.http.addresses import AddressRules, Resolver
from convai_lab.http.proxies import Proxies
from convai_lab.http.transport import AiohttpTransport

HARMLESS_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
    }
)
"""The only headers that leave for an origin other than the stored URL's."""


class GuardedTransport(AiohttpTransport):
    """Checks every request against `AddressRules`, and connects only to addresses that were checked."""

    def __init__(self, rules: AddressRules, *, resolve: Resolver | None, max_connections: int) -> None:
        resolver = _CheckingResolver(rules, resolve or system_addresses)
        super().__init__(max_connections=max_connections, proxies=Proxies({}), resolver=resolver)
        self._rules = rules

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request if its address may be called; redirects come through here one by one."""
        self._rules.check_url(request.url)
        if not self._rules.is_stored_origin(request.url):
            for name in set(request.headers) - HARMLESS_HEADERS:
                del request.headers[name]
        return await super().handle_async_request(request)


class _CheckingResolver(AbstractResolver):
    """Resolves names for aiohttp, which connects to exactly the addresses returned here and asks no one again."""

    def __init__(self, rules: AddressRules, resolve: Resolver) -> None:
        self._rules, self._resolve = rules, resolve

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - aiohttp's interface
    ) -> list[ResolveResult]:
        addresses = await self._resolve(host, port)
        if not addresses:
            raise OSError(socket.EAI_NONAME, f"{host} has no address")
        self._rules.check_resolved(host, port, addresses)
        return [_result(host, port, address) for address in addresses]

    async def close(self) -> None:
        """Nothing is held."""


async def system_addresses(host: str, port: int) -> Sequence[str]:
    """Return the addresses that the system's resolver gives for `host`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)
