"""Platform: which platform does a command talk to?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from convai_lab import settings
from convai_lab.errors import InvalidValueError

if TYPE_CHECKING:
    from convai_lab.workspace.workspace import Workspace

platform_option = click.option(
    "--platform",
    default="local",
    show_default=True,
    metavar="NAME",
    help="local, elevenlabs, or the URL of a platform (its key in CONVAI_API_KEY).",
)


def open_platform(name: str) -> Workspace:
    """Connect to a platform; a local one that is already running is used, else one is started."""
    from convai_lab.workspace.connect import connect

    if not name.startswith(("http://", "https://")):
        return connect(name)
    key = settings.find_key("CONVAI_API_KEY")
    if key is None:
        raise InvalidValueError("is not set: put the key of that platform there", field="CONVAI_API_KEY")
    return connect(name, api_key=key)


def json_option() -> Callable[..., Any]:
    """Return the `--json` flag that commands with output for programs have."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
