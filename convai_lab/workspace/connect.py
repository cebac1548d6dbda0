"""Connect: which platform do you want to work with?"""

from __future__ import annotations

from urllib.parse import urlsplit

from convai_lab import settings
from convai_lab.clock import Clock
from convai_lab.errors import InvalidValueError, MissingKeyError
from convai_lab.settings import Secret
from convai_lab.workspace.local_process import is_loopback, local_process
from convai_lab.workspace.running_platform import stored_platform
from convai_lab.workspace.transport import FixedPlatform, Place, Transport
from convai_lab.workspace.workspace import Workspace

LOCAL = "local"
ELEVENLABS = "elevenlabs"
ELEVENLABS_URL = "https://api.elevenlabs.io"
KEY_VARIABLE = "ELEVENLABS_API_KEY"
BASE_URL_VARIABLE = "ELEVENLABS_BASE_URL"


def connect(target: str = LOCAL, *, api_key: str | Secret | None = None, clock: Clock | None = None) -> Workspace:
    """Return a workspace on a platform.

    Nothing is asked of the platform yet; the local one is started when it is first needed, once for all
    workspaces of this Python process.

    Args:
        target: ``"local"``, ``"elevenlabs"`` (your cloud account), or the URL of a platform.
        api_key: The key of a platform given by URL, or of the cloud instead of ``ELEVENLABS_API_KEY``.

    Raises:
        MissingKeyError: The cloud was asked for, and ``ELEVENLABS_API_KEY`` is not set.
        InvalidValueError: The target is none of these.
    """
    key = _key(api_key)
    if target == LOCAL:
        if key is not None:
            raise InvalidValueError("the local platform makes its own key; leave it out", field="api_key")
        return Workspace(Transport(local_process(), clock=clock))
    if target == ELEVENLABS:
        url = _checked_url(settings.setting(BASE_URL_VARIABLE) or ELEVENLABS_URL, field=BASE_URL_VARIABLE)
        if (key := key or settings.find_key(KEY_VARIABLE)) is None:
            raise MissingKeyError(
                KEY_VARIABLE, needed_for="the elevenlabs platform", instead="stay on the local platform"
            )
        return Workspace(Transport(FixedPlatform(ELEVENLABS, Place(url, key)), clock=clock))
    url = _checked_url(target, field="target")
    return Workspace(Transport(FixedPlatform(url, Place(url, key or _stored_key(url))), clock=clock))


def _key(given: str | Secret | None) -> Secret | None:
    if given is None:
        return None
    text = given.reveal() if isinstance(given, Secret) else given
    if not isinstance(text, str) or not text.strip() or not text.strip().isascii() or not text.strip().isprintable():
        raise InvalidValueError("is not a key: it must be one line of plain characters", field="api_key")
    return Secret(text.strip())


def _stored_key(url: str) -> Secret | None:
    """Return the key of the platform that runs for this data folder, when `url` is its address."""
    found = stored_platform() if is_loopback(url) else None
    return found[1] if found is not None and found[0] == url else None


def _checked_url(given: object, *, field: str) -> str:
    """Return a base URL without a slash at its end."""
    shown = settings.scrub(str(given)[:100])
    if not isinstance(given, str) or "://" not in given:
        raise InvalidValueError(f"{shown!r} is no platform: use local, elevenlabs, or an http(s) URL", field=field)
    try:
        parts = urlsplit(given.strip())
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise InvalidValueError("is no http(s) URL of a platform", field=field)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InvalidValueError(
            "must be a plain address, without a user, a query or a fragment; pass the key as api_key", field=field
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
