"""Addresses: which may be called on behalf of a URL that somebody configured?

Always refused: link-local and metadata addresses, this machine's "any" address (0.0.0.0, ::), multicast and reserved
ranges, our own ports, and every spelling of an address that is not the plain one. Public addresses are allowed.

Private and loopback addresses are allowed only when they stand literally in the stored URL, with the same port.
"Literally" means a host that can name nothing public: an IP address; ``localhost`` or a name under ``.localhost``
(which must then resolve to loopback); a single name such as ``ollama`` (containers and home networks); or a name
under a suffix reserved for private use (``.internal``, ``.local``, ``.home.arpa``). Any other name, such as
``example.com``, is public: if it resolves to a private address, today or after a DNS change, it is refused.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Literal

import httpx

from convai_lab.errors import ForbiddenAddressError

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Answers a host name and a port with the IP addresses of the host."""

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressKind = Literal["public", "private", "loopback", "forbidden"]

DEFAULT_PORTS = {"http": 80, "https": 443}
PRIVATE_SUFFIXES = (".internal", ".local", ".home.arpa")
METADATA_NAMES = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.tencentyun.com",
    }
)
METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle
        "fd00:ec2::23",  # Amazon, pod identity
        "fd00:ec2::254",  # Amazon
        "fd20:ce::254",  # Google
    )
)
CARRIER_NETWORK = ipaddress.ip_network("100.64.0.0/10")
THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
NAT64 = ipaddress.ip_network("64:ff9b::/96")
TEREDO = ipaddress.ip_network("2001::/32")
OLD_EMBEDDED_IPV4 = ipaddress.ip_network("::/96")

HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*")
NUMERIC_LABEL = re.compile(r"(?:\d+|0x[0-9a-f]*)")


class AddressRules:
    """The addresses that may be called on behalf of one stored URL.

    Example:
        >>> rules = AddressRules("https://example.com/hook")
        >>> rules.check_url(httpx.URL("http://169.254.169.254/"))
        Traceback (most recent call last):
        ...
        convai_lab.errors.ForbiddenAddressError: http://169.254.169.254 is refused: link-local, ...
    """

    def __init__(self, stored_url: str, *, own_ports: Collection[int] = ()) -> None:
        try:
            url = httpx.URL(stored_url)
        except (httpx.InvalidURL, TypeError, ValueError) as error:
            raise ForbiddenAddressError(f"the stored URL cannot be called: {error}") from None
        self._own_ports = frozenset(own_ports)
        self._scheme = url.scheme
        self._host, self._port = "", 0
        self._host, self._port = _host(url), _port(url)
        self.check_url(url)

    def check_url(self, url: httpx.URL) -> None:
        """Check how a URL is written, and where it goes when its host is an IP address.

        Raises:
            ForbiddenAddressError: It must not be called.
        """
        host, port = _host(url), _port(url)
        if (address := _literal(host)) is not None:
            self.check_resolved(host, port, [str(address)])

    def check_resolved(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """Check the addresses that a host name stands for; one that is forbidden refuses them all.

        Raises:
            ForbiddenAddressError: The host must not be called.
        """
        host = _plain(host)
        for text in addresses:
            try:
                address = ipaddress.ip_address(text.partition("%")[0])
            except ValueError:
                raise _refusal(host, port, f"the resolver answered {text!r}, which is not an address") from None
            self._check_address(host, port, address)

    def is_stored_origin(self, url: httpx.URL) -> bool:
        """Say whether a request to `url` goes to the scheme, host and port of the stored URL."""
        return (url.scheme, _host(url), _port(url)) == (self._scheme, self._host, self._port)

    def _check_address(self, host: str, port: int, address: IPAddress) -> None:
        kind, reason = classify(address)
        if kind == "forbidden":
            raise _refusal(host, port, reason)
        if port in self._own_ports and _is_own_address(address):
            raise _refusal(host, port, "it is a port of this program or of Jupyter")
        if kind == "public":
            return
        where = "" if host == str(address) else f"{host} resolves to {address}, "
        if (host, port) != (self._host, self._port):
            raise _refusal(host, port, f"{where}{reason}, and only the stored URL itself may name such a host and port")
        if not _allows(host, kind):
            raise _refusal(host, port, f"{where}{reason}; to call it, write the IP address itself in the URL")


def classify(address: IPAddress) -> tuple[AddressKind, str]:
    """Return what kind of address it is, with the reason in words (IPv4 inside IPv6 counts as what it embeds)."""
    if isinstance(address, ipaddress.IPv6Address) and (embedded := _embedded(address)) is not None:
        return classify(embedded)
    if address in METADATA_ADDRESSES or address.is_link_local:
        return "forbidden", "link-local and metadata addresses are never called"
    if address.is_loopback:
        return "loopback", "a loopback address"
    if address.is_unspecified or address in THIS_NETWORK:
        return "forbidden", "it stands for any address of this machine; write 127.0.0.1 or localhost"
    if address.is_multicast or address.is_reserved or address in TEREDO or address in OLD_EMBEDDED_IPV4:
        return "forbidden", "multicast and reserved addresses are never called"
    if address in CARRIER_NETWORK or not address.is_global:
        return "private", "a private address"
    return "public", "a public address"


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _allows(host: str, kind: AddressKind) -> bool:
    """Say whether `host`, standing in the stored URL, names a private or loopback address literally."""
    if _literal(host) is not None:
        return True
    if host == "localhost" or host.endswith(".localhost"):
        return kind == "loopback"
    return "." not in host or host.endswith(PRIVATE_SUFFIXES)


def _host(url: httpx.URL) -> str:
    """Return the host of a URL in its one plain spelling, or refuse it."""
    shown = str(url.copy_with(userinfo=b"", path="/", query=None, fragment=None))[:200] if url.host else str(url)[:200]
    if url.scheme not in DEFAULT_PORTS:
        raise ForbiddenAddressError(f"{shown!r} is refused: only http:// and https:// URLs are called")
    if url.userinfo:
        raise ForbiddenAddressError(
            f"{shown!r} is refused: a user name or password in a URL hides where it goes; use an Authorization header"
        )
    host = _plain(url.raw_host.decode("ascii", "replace"))
    if _literal(host) is not None:
        return host
    if not HOST_NAME.fullmatch(host) or len(host) > 253:
        raise ForbiddenAddressError(f"{shown!r} is refused: its host is not a plain host name or IP address")
    if NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]):
        raise ForbiddenAddressError(f"{shown!r} is refused: write the IP address as four decimal numbers")
    if host in METADATA_NAMES:
        raise ForbiddenAddressError(f"{shown!r} is refused: link-local and metadata addresses are never called")
    return host


def _port(url: httpx.URL) -> int:
    port = DEFAULT_PORTS[url.scheme] if url.port is None else url.port
    if not 0 < port < 65536:
        raise ForbiddenAddressError(f"port {port} of {url.host[:200]!r} is refused: a port is from 1 to 65535")
    return port


def _plain(host: str) -> str:
    """Return a host in lower case, without the dot of the root and with IPv6 in its shortest form."""
    host = host.lower().removesuffix(".")
    address = _literal(host)
    return host if address is None else str(address)


def _literal(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_own_address(address: IPAddress) -> bool:
    """Say whether the address belongs to this machine: only then can a socket be bound to it."""
    if isinstance(address, ipaddress.IPv6Address) and (embedded := _embedded(address)) is not None:
        address = embedded
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _refusal(host: str, port: int, reason: str) -> ForbiddenAddressError:
    shown = f"[{host}]" if ":" in host else host
    return ForbiddenAddressError(f"{shown}:{port} is refused: {reason}")
