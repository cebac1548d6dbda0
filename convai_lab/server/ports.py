"""Ports: which ports of this machine must an agent's tools and models never reach?"""

from __future__ import annotations

import json
from pathlib import Path

MAX_FILE_BYTES = 64 * 1024


def jupyter_ports() -> frozenset[int]:
    """Return the ports of the Jupyter servers of this user, as their runtime files tell; they run any code."""
    try:
        from jupyter_core.paths import jupyter_runtime_dir
    except ImportError:
        return frozenset()
    return ports_in(Path(jupyter_runtime_dir()))


def ports_in(folder: Path) -> frozenset[int]:
    """Return the ports named by the server files in a Jupyter runtime folder; odd files are passed over."""
    found = {_port(file) for pattern in ("jpserver-*.json", "nbserver-*.json") for file in folder.glob(pattern)}
    return frozenset(port for port in found if port)


def _port(file: Path) -> int:
    try:
        with open(file, "rb") as opened:
            said = json.loads(opened.read(MAX_FILE_BYTES))
    except (OSError, ValueError, RecursionError):
        return 0
    port = said.get("port") if isinstance(said, dict) else None
    return port if isinstance(port, int) and 0 < port < 65_536 else 0
