"""Client: how do we make an HTTP client that is fast, honest about errors, and calls nothing it must not?"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import httpx

from convai_lab.http.addresses import AddressRules, Resolver
from convai_lab.http.answers import PostingClient

DEFAULT_TIMEOUT_SECS = 60.0
GUARDED_TIMEOUT_SECS = 20.0
MAX_CONNECTIONS = 200
MAX_GUARDED_CONNECTIONS = 20
MAX_REDIRECTS = 5


def new_client(
    *,
    base_url: str = "",
    headers: Mapping[str, str] | None = None,
    timeout: float | httpx.Timeout = DEFAULT_TIMEOUT_SECS,
    max_connections: int = MAX_CONNECTIONS,
) -> PostingClient:
    """Make a client on the fast transport; whatever goes wrong on the wire arrives as an httpx exception.

    Proxies named in the environment are used, except for this machine itself. One client serves any number of
    event loops, each with its own connections. Redirects are followed only when a request asks for it.
    """
    from convai_lab.http.transport import AiohttpTransport

    transport = AiohttpTransport(max_connections=max_connections)
    return PostingClient(transport, base_url=base_url, headers=headers, timeout=timeout)


def guarded_client(
    stored_url: str,
    *,
    own_ports: Collection[int] = (),
    headers: Mapping[str, str] | None = None,
    timeout: float | httpx.Timeout = GUARDED_TIMEOUT_SECS,
    resolve: Resolver | None = None,
) -> httpx.AsyncClient:
    """Make a client that may call `stored_url` and public addresses, under the rules of `AddressRules`.

    For addresses that somebody configured: webhooks and custom language models. Every request and every redirect
    is checked, and so is what each name resolves to; the checked addresses are the ones connected to. Proxies are
    not used, because a proxy would resolve the names again. Headers other than harmless ones are left out of
    requests to any other origin, so that a redirect never carries a key away.

    Args:
        stored_url: The URL as it stands in the configuration, before a model filled in anything.
        own_ports: Ports of this machine that must never be called: our own and Jupyter's.
        resolve: Answers a host name with its addresses; the system's resolver when None.

    Raises:
        ForbiddenAddressError: `stored_url` itself must not be called. Requests raise it too.
    """
    rules = AddressRules(stored_url, own_ports=own_ports)
    from convai_lab.http.guarded_transport import GuardedTransport

    transport = GuardedTransport(rules, resolve=resolve, max_connections=MAX_GUARDED_CONNECTIONS)
    return httpx.AsyncClient(
        transport=transport,
        headers={"accept-encoding": "gzip, deflate", **(headers or {})},
        timeout=timeout,
        max_redirects=MAX_REDIRECTS,
    )
