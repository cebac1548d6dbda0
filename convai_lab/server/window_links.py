"""Window links: which link opens which session's page, and only once?

A link carries a token in its fragment, which no browser sends anywhere by itself. The page exchanges it, once, for a
second token that it keeps in its memory and shows on its socket; at the end it is told a third, for the recording.
Only digests of tokens are kept here.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convai_lab.clock import Clock
from convai_lab.server.answers import Refusal

if TYPE_CHECKING:
    from convai_lab.server.window_share import WindowShare

LINK_SECS = 600.0
"""So long a link waits to be opened; as long as a session waits for its user."""
PAGE_SECS = 60.0
"""So long a page that has loaded may take to open its socket."""
RECORDING_SECS = 3600.0
"""So long after the end the page may fetch the recording of its session."""
MAX_TOKEN_CHARS = 200
MAX_LINKS = 1_000
AGAIN = "run %talk AGENT --window again (or: convai talk AGENT --window)"


@dataclass
class _Link:
    share: WindowShare
    expires_at: float
    used: bool = False


class WindowLinks:
    """The links of one running platform."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._links: dict[str, _Link] = {}
        self._pages: dict[str, _Link] = {}
        self._recordings: dict[str, tuple[str, float]] = {}

    def new_link(self, share: WindowShare) -> str:
        """Return the token of a new link to this session."""
        return self._add(self._links, share, LINK_SECS)

    def exchange(self, token: object) -> str:
        """Return the token of the page that shows the link's token, once.

        Raises:
            Refusal: The link is not known, was used, or has expired; says what to do.
        """
        link = self._links.get(_digest(token))
        if link is None:
            raise Refusal(403, "unknown_link", f"This link is not known here, or its session is over: {AGAIN}.")
        if link.used:
            raise Refusal(403, "used_link", f"This link was used already, and works only once: {AGAIN}.")
        if self._clock.now() > link.expires_at:
            raise Refusal(403, "expired_link", f"This link has expired: {AGAIN}.")
        link.used = True
        return self._add(self._pages, link.share, PAGE_SECS)

    def admit(self, token: object) -> WindowShare:
        """Return the session of the page that shows its own token, once.

        Raises:
            Refusal: The token is not known, was used, or has expired.
        """
        page = self._pages.get(_digest(token))
        if page is None or page.used or self._clock.now() > page.expires_at:
            raise Refusal(403, "unknown_page", f"This page may not talk any more: {AGAIN}.")
        page.used = True
        return page.share

    def new_recording(self, conversation_id: str) -> str:
        """Return the token with which the page of this conversation may fetch its recording, for a while."""
        if len(self._recordings) >= MAX_LINKS:
            del self._recordings[next(iter(self._recordings))]
        token = secrets.token_urlsafe(32)
        self._recordings[_digest(token)] = (conversation_id, self._clock.now() + RECORDING_SECS)
        return token

    def recorded(self, token: object) -> str:
        """Return the conversation whose recording the page may have that shows this token.

        Raises:
            Refusal: The token is not known, or has expired.
        """
        conversation_id, expires_at = self._recordings.get(_digest(token), ("", 0.0))
        if not conversation_id or self._clock.now() > expires_at:
            raise Refusal(403, "unknown_recording", "This page may not have the recording any more: play conv.audio.")
        return conversation_id

    def forget(self, share: WindowShare) -> None:
        """Forget the links of a session that is over; that one was used is known for a while."""
        self._pages = {digest: page for digest, page in self._pages.items() if page.share is not share}
        self._links = {
            digest: link for digest, link in self._links.items() if link.share is not share or self._is_known(link)
        }

    def _is_known(self, link: _Link) -> bool:
        return link.used and self._clock.now() <= link.expires_at

    def _add(self, tokens: dict[str, _Link], share: WindowShare, secs: float) -> str:
        if len(tokens) >= MAX_LINKS:
            del tokens[next(iter(tokens))]
        token = secrets.token_urlsafe(32)
        tokens[_digest(token)] = _Link(share, self._clock.now() + secs)
        return token


def _digest(token: object) -> str:
    if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN_CHARS:
        return ""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
