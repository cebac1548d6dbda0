"""Access: who may knock at which door? (host names, pages in browsers, keys and signatures)"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from convai_lab.errors import InvalidValueError
from convai_lab.server.answers import Refusal
from convai_lab.server.auth import Signed, UrlSigner, same_text
from convai_lab.settings import Secret

KEY_HEADER = "xi-api-key"
WEB_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class VisitorPolicy:
    """What an agent says about clients without a key: its `auth` settings."""

    agent_id: str = ""
    enable_auth: bool = False
    require_origin: bool = False
    allowlist: frozenset[str] = frozenset()


def policy_of(agent: Mapping[str, Any]) -> VisitorPolicy:
    """Read the visitor policy out of an agent document."""
    settings = agent.get("platform_settings")
    auth = settings.get("auth") if isinstance(settings, dict) else None
    auth = auth if isinstance(auth, dict) else {}
    listed = auth.get("allowlist")
    entries = [item.get("hostname") for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return VisitorPolicy(
        agent_id=str(agent.get("agent_id", "")),
        enable_auth=bool(auth.get("enable_auth")),
        require_origin=bool(auth.get("require_origin_header")),
        allowlist=frozenset(entry.strip().lower() for entry in entries if isinstance(entry, str) and entry.strip()),
    )


def read_origin(text: str) -> str:
    """Return an origin such as ``http://localhost:3000`` in its normal form.

    Raises:
        InvalidValueError: It is not the origin of a page: a path, a wildcard, ``null``, another scheme.
    """
    try:
        parts = urlsplit(text.strip().lower())
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    plain = host is not None and parts.scheme in WEB_PORTS and parts.netloc.rpartition("@")[0] == ""
    if not plain or parts.path not in ("", "/") or parts.query or parts.fragment or "*" in text:
        raise InvalidValueError(
            f"{text[:80]!r} is not an origin: write scheme, host and port, such as http://localhost:3000",
            field="allow_origin",
        )
    assert host is not None
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port in (None, WEB_PORTS[parts.scheme]) else f":{port}")


def is_loopback(host: str) -> bool:
    """Say whether `host` is this machine, written as ``localhost`` or as a loopback address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class Door:
    """The rules of one running platform.

    `bound_host` is the address it listens on. `keyless` false closes the routes that official clients call
    without a key (``--no-keyless``, for shared machines).
    """

    api_key: Secret
    bound_host: str = "127.0.0.1"
    allow_origins: frozenset[str] = frozenset()
    keyless: bool = True
    signer: UrlSigner = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "signer", UrlSigner(self.api_key))

    def check_host(self, headers: Headers) -> None:
        """Refuse a request that names another host than ours (a web page using DNS to reach this machine)."""
        host = _host_of(headers.get("host", ""))
        if is_loopback(host) or (not is_loopback(self.bound_host) and _may_name_this_machine(host, self.bound_host)):
            return
        raise Refusal(403, "forbidden_host", "this platform answers only under the names of this machine")

    def check_origin(self, headers: Headers, policy: VisitorPolicy | None = None) -> str | None:
        """Return the origin of the page that asks, None for a program; refuse pages that are not allowed."""
        origins = headers.getlist("origin")
        if not origins:
            if headers.get("sec-fetch-site", "none").lower() in ("cross-site", "same-site"):
                raise Refusal(403, "forbidden_origin", "pages of other sites may not call this platform")
            return None
        if len(origins) == 1 and self._allows(origins[0], policy):
            return origins[0]
        raise Refusal(
            403,
            "forbidden_origin",
            "pages of this origin may not call this platform: add it to the agent's allowlist, "
            "or start with --allow-origin",
        )

    def has_key(self, headers: Headers) -> bool:
        """Say whether the request carries the right key."""
        return same_text(headers.get(KEY_HEADER, ""), self.api_key.reveal())

    def require_key(self, headers: Headers) -> None:
        """Refuse a request without the right key."""
        if self.has_key(headers):
            return
        if headers.get(KEY_HEADER):
            raise Refusal(401, "invalid_api_key", "the API key is not the one of this platform")
        raise Refusal(401, "needs_authorization", f"this route needs the platform's API key in the {KEY_HEADER} header")

    def check_visitor(self, headers: Headers, policy: VisitorPolicy) -> None:
        """Refuse a client without key and signature unless the agent is open to it; its origin is checked already."""
        if self.has_key(headers):
            return
        if headers.get(KEY_HEADER):
            raise Refusal(401, "invalid_api_key", "the API key is not the one of this platform")
        has_page = bool(headers.get("origin"))
        if not self.keyless:
            raise Refusal(401, "needs_authorization", "this platform was started with --no-keyless: a key is needed")
        if policy.enable_auth:
            raise Refusal(401, "needs_authorization", "this agent needs a signed URL or the platform's API key")
        if policy.require_origin and not has_page:
            raise Refusal(403, "forbidden_origin", "this agent answers only pages: the Origin header is missing")

    def check_signature(self, agent_id: str, signature: str, *, now: float) -> Signed:
        """Return what a signed URL allows; refuse one that we did not sign, or that has expired."""
        signed = self.signer.verify(agent_id, signature)
        if signed is None:
            raise Refusal(401, "invalid_signature", "the conversation signature is not valid for this agent")
        if now > signed.expires_at:
            raise Refusal(401, "expired_signature", "the signed URL has expired: ask for a new one")
        return signed

    def _allows(self, origin: str, policy: VisitorPolicy | None) -> bool:
        try:
            known = read_origin(origin)
        except InvalidValueError:
            return False
        host = urlsplit(known)
        listed = policy.allowlist if policy else frozenset()
        return (
            is_loopback(host.hostname or "")
            or known in self.allow_origins
            or not listed.isdisjoint({known, host.netloc, host.hostname or ""})
        )


def read_origins(texts: Iterable[str]) -> frozenset[str]:
    """Read the values of ``--allow-origin``."""
    return frozenset(read_origin(text) for text in texts)


def _host_of(header: str) -> str:
    """Return the host of a Host header without its port; empty when it is malformed."""
    try:
        parts = urlsplit(f"//{header}")
        return (parts.hostname or "") if parts.netloc == header and "@" not in header and parts.port != 0 else ""
    except ValueError:
        return ""


def _may_name_this_machine(host: str, bound_host: str) -> bool:
    """A platform that was opened to the network on purpose also answers under addresses and its own name."""
    if host in (bound_host.lower(), socket.gethostname().lower()):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
