"""Cloud address: may this address of a conversation elsewhere be opened, and what is told of it when it cannot?

The address holds a signature: it stands in no error.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import NoReturn
from urllib.parse import urlsplit

from convai_lab.errors import ConvaiLabError, ForbiddenAddressError
from convai_lab.http.addresses import AddressRules, classify
from convai_lab.server.access import is_loopback
from convai_lab.server.live_frames import CloudAddress
from convai_lab.server.socket_events import CRASHED, OPERATIONAL, REFUSED, Problem
from convai_lab.workspace.socket import Socket, open_socket


async def opened(address: CloudAddress) -> Socket:
    """Open the conversation elsewhere; what goes wrong is told without the address.

    Raises:
        Problem: It is no address of a conversation, or nobody answers there.
    """
    await _check(address.url)
    try:
        return await open_socket(address.url, headers={}, who=address.who)
    except ConvaiLabError as error:
        raise Problem(OPERATIONAL, "cloud_unreachable", _without_address(str(error), address.url)) from None
    except Exception as error:
        raise Problem(CRASHED, "cloud_unreachable", f"{address.who} could not be reached") from error


async def _check(url: str) -> None:
    """Refuse what is not encrypted, and addresses that only this machine should reach, such as those of metadata."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        AddressRules(url.replace("ws", "http", 1))
    except (ValueError, ForbiddenAddressError):
        _refuse()
    if parts.scheme != "wss" and not (parts.scheme == "ws" and is_loopback(host)):
        _refuse()
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port or 443, type=socket.SOCK_STREAM)
    except OSError:
        return  # a proxy may know the name; whoever opens it says so otherwise
    for *_, (ip, *_) in found:
        if classify(ipaddress.ip_address(str(ip).partition("%")[0]))[0] == "forbidden":
            _refuse()


def _refuse() -> NoReturn:
    raise Problem(REFUSED, "bad_message", "live_cloud: url must be the wss address of a conversation") from None


def _without_address(said: str, url: str) -> str:
    query = urlsplit(url).query
    for secret in (url, query, *(pair.partition("=")[2] for pair in query.split("&"))):
        said = said.replace(secret, "…") if len(secret) > 3 else said
    return said
