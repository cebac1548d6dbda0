"""Proxies: through which proxy, if any, does the environment want a request to go?"""

from __future__ import annotations

import ipaddress
import urllib.request
from collections.abc import Mapping

import httpx

USABLE = ("http://", "https://")


class Proxies:
    """The proxies of the environment (``HTTPS_PROXY``, ``NO_PROXY`` ...), never used for this machine itself."""

    def __init__(self, named: Mapping[str, str]) -> None:
        self._named = dict(named)

    @classmethod
    def from_environment(cls) -> Proxies:
        """Return the proxies that the environment names now."""
        return cls(urllib.request.getproxies_environment())

    def for_url(self, url: httpx.URL) -> str | None:
        """Return the proxy for a request to `url`, or None.

        Raises:
            httpx.UnsupportedProtocol: The environment names a kind of proxy that we cannot use.
        """
        if not self._named:
            return None
        proxy = self._named.get(url.scheme) or self._named.get("all")
        if not proxy or is_this_machine(url.host) or self._bypassed(url):
            return None
        if "://" not in proxy:
            proxy = f"http://{proxy}"
        if not proxy.lower().startswith(USABLE):
            kind = proxy.partition("://")[0]
            raise httpx.UnsupportedProtocol(
                f"the environment names a {kind} proxy for {url.scheme}, which cannot be used: "
                "set HTTPS_PROXY to an http:// proxy, or name the host in NO_PROXY"
            )
        return proxy

    def _bypassed(self, url: httpx.URL) -> bool:
        host = url.host if url.port is None else f"{url.host}:{url.port}"
        bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined] # typeshed leaves it out
        return bool(bypass(host, self._named))


def is_this_machine(host: str) -> bool:
    """Say whether `host` is a spelling of the loopback address."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
