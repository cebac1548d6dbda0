"""Running platform: does somebody already run a platform for this data folder?"""

from __future__ import annotations

import json
import os

from convai_lab import background, settings
from convai_lab.errors import PlatformError
from convai_lab.settings import Secret
from convai_lab.workspace.local_process import KEY_FILE, is_loopback
from convai_lab.workspace.transport import FixedPlatform, Place, Transport

PLATFORM_FILE = "platform.json"
ANSWER_LIMIT_SECS = 2.0


async def find_running_platform() -> tuple[str, Secret] | None:
    """Return address and key of the platform named by ``platform.json``, if it answers and is ours."""
    found = stored_platform()
    if found is None:
        return None
    url, key = found
    asking = Transport(FixedPlatform("local", Place(url, key)))
    try:
        async with asking.clock.timeout(ANSWER_LIMIT_SECS):
            status = await asking.request("GET", "/v1/local/status")
    except (PlatformError, TimeoutError):
        return None
    finally:
        await asking.close()
    ours = isinstance(status, dict) and str(status.get("home")) == str(settings.home())
    return (url, key) if ours else None


def running_platform() -> tuple[str, Secret] | None:
    """Return address and key of a platform that runs for this data folder, or None (for the command line)."""
    return background.run(find_running_platform())


def stored_platform() -> tuple[str, Secret] | None:
    """Return what ``platform.json`` and the key file say, if that process is alive; nobody is asked."""
    try:
        said = json.loads((settings.home() / PLATFORM_FILE).read_text(encoding="utf-8"))
        url, pid = said["url"], said["pid"]
        key = (settings.home() / KEY_FILE).read_text(encoding="utf-8").strip()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(url, str) or not is_loopback(url) or not isinstance(pid, int) or pid <= 0 or not key:
        return None
    return (url.rstrip("/"), Secret(key)) if _is_running(pid) else None


def _is_running(pid: int) -> bool:
    if os.name == "nt":  # there, signal 0 is no question but an interrupt
        return True
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
