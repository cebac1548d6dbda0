"""Webhook: how is a webhook tool called over HTTP, and what of the answer may the model see?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from convai_lab import settings
from convai_lab.agents.tools import WebhookTool
from convai_lab.dialogue.assignments import value_at
from convai_lab.dialogue.author_settings import setting_in
from convai_lab.dialogue.fault import ToolFault
from convai_lab.dialogue.outside_text import MAX_ERROR_CHARS, as_text, cut, well_formed
from convai_lab.dialogue.webhook_request import WebhookRequest, webhook_request
from convai_lab.errors import ResponseTooLargeError

if TYPE_CHECKING:
    import httpx

MAX_RESPONSE_BYTES = 1_000_000
MAX_REDIRECTS = 5

_TEXT_KINDS = ("json", "text", "xml", "javascript", "x-www-form-urlencoded", "yaml")
_CHARSETS = ("utf-8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "windows-1252", "utf-16")


async def call_webhook(
    tool: WebhookTool,
    arguments: Mapping[str, Any],
    variables: Mapping[str, Any],
    *,
    own_ports: Collection[int] = (),
) -> str:
    """Call the tool under the address rules and return the text of its answer, without what its headers hold.

    Raises:
        ToolFault: It could not be reached, or answered with an error.
        ForbiddenAddressError: The address must not be called.
        MissingVariableError: A header names a variable that has no value.
        TimeoutError: It did not answer in time.
    """
    import httpx

    from convai_lab.http import guarded_client

    request = webhook_request(tool, arguments, variables)
    secs = tool.response_timeout_secs
    try:
        async with (
            asyncio.timeout(secs),
            guarded_client(tool.url, own_ports=own_ports, timeout=secs) as client,
        ):
            return await _answer(client, tool, request)
    except httpx.TimeoutException:
        raise TimeoutError from None
    except ResponseTooLargeError as error:
        raise ToolFault(f"the webhook's answer is too large: {error}", "webhook_error") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        told = _without(request.secrets, str(error)) or type(error).__name__
        raise ToolFault(f"the webhook could not be reached: {cut(told, MAX_ERROR_CHARS)}", "webhook_error") from None


async def _answer(client: httpx.AsyncClient, tool: WebhookTool, request: WebhookRequest) -> str:
    response = await _sent(client, tool, request)
    try:
        text = _without(request.secrets, await _text(response))
    finally:
        await response.aclose()
    if response.is_redirect:
        raise ToolFault(f"the webhook answered {response.status_code} (a redirect, not followed)", "webhook_error")
    if response.status_code >= 400:
        told = cut(text.strip(), MAX_ERROR_CHARS) or response.reason_phrase
        raise ToolFault(f"the webhook answered {response.status_code}: {told}", "webhook_error")
    return _filtered(tool, text)


async def _sent(client: httpx.AsyncClient, tool: WebhookTool, request: WebhookRequest) -> httpx.Response:
    """Send the request; a redirect is followed only where the tool says so (the client drops its headers there)."""
    outgoing = client.build_request(tool.method, request.url, headers=request.headers, content=request.body)
    for _ in range(MAX_REDIRECTS):
        response = await client.send(outgoing, stream=True, follow_redirects=False)
        following = response.next_request
        if following is None or not _may_follow(tool, str(following.url)):
            return response
        await response.aclose()
        body = request.body if following.method == outgoing.method else None
        outgoing = client.build_request(following.method, following.url, headers=request.headers, content=body)
    raise ToolFault(f"the webhook redirected more than {MAX_REDIRECTS} times", "webhook_error")


def _may_follow(tool: WebhookTool, url: str) -> bool:
    if setting_in(tool.extra, "follow_redirects") is not True:
        return False
    domains = setting_in(tool.extra, "follow_redirects_allowed_domains")
    host = urlsplit(url).hostname or ""
    return host == urlsplit(tool.url).hostname or (isinstance(domains, (list, tuple)) and host in domains)


async def _text(response: httpx.Response) -> str:
    """Return the body as text."""
    from convai_lab.http import read_limited

    raw = await read_limited(response, MAX_RESPONSE_BYTES)
    kind = response.headers.get("content-type", "").lower()
    if kind and not any(word in kind for word in _TEXT_KINDS):
        return f"[the answer is not text but {kind[:80]}]"
    charset = (response.charset_encoding or "utf-8").lower()
    return well_formed(raw.decode(charset if charset in _CHARSETS else "utf-8", "replace"))


def _filtered(tool: WebhookTool, text: str) -> str:
    """Leave out what the author's response filter hides from the model."""
    chosen = setting_in(tool.extra, "response_filter")
    mode = chosen.get("mode") if isinstance(chosen, Mapping) else "all"
    if mode == "hide_all":
        return "The tool was called; its answer is not shown."
    if mode != "allow" or not isinstance(chosen, Mapping):
        return text
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return "The tool's answer is not JSON and is not shown."
    paths = chosen.get("filters") or ()
    shown = {path: value_at(document, path) for path in paths if isinstance(path, str)}
    return as_text({path: value for path, value in shown.items() if value is not None})


def _without(secrets: Iterable[str], text: str) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, settings.STARS)
    return settings.scrub(text)
