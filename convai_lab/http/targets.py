"""Targets: how does a URL reach aiohttp without being read differently there?"""

from __future__ import annotations

import httpx
import yarl


def target_url(url: httpx.URL) -> yarl.URL:
    """Return the same URL for aiohttp, byte for byte, without user name and password (httpx made a header of them)."""
    if url.scheme not in ("http", "https") or not url.host:
        raise httpx.UnsupportedProtocol(
            f"cannot send a request to {str(url)[:200]!r}: it must start with http:// or https://"
        )
    host = url.raw_host.decode("ascii")
    netloc = f"[{host}]" if ":" in host else host
    port = "" if url.port is None else f":{url.port}"
    target = yarl.URL(f"{url.scheme}://{netloc}{port}{url.raw_path.decode('ascii')}", encoded=True)
    if target.raw_host != host or target.user is not None:
        raise httpx.UnsupportedProtocol(f"the host of {str(url)[:200]!r} can be read in two ways")
    return target
