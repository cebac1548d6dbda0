"""The local platform as a process: ``python -m convai_lab.server``, started by the workspace."""

from __future__ import annotations

import argparse
import atexit
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from convai_lab.errors import ConvaiLabError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the platform for a parent process, or by hand, until it is told to stop."""
    given = _parser().parse_args(arguments)
    if given.watch_stdin:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the notebook's cell, not for us
    try:
        _run(given)
    except ConvaiLabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _run(given: argparse.Namespace) -> None:
    from convai_lab.server.lifetime import when_parent_ends, when_stdin_closes
    from convai_lab.server.run import Options, PlatformServer, log_to_stderr, serve_parent, stop_quickly

    log_to_stderr()
    options = Options(host=given.host, port=given.port, allow_origins=given.allow_origin, keyless=not given.no_keyless)
    server = PlatformServer(options)
    if given.watch_stdin:
        when_stdin_closes(lambda: stop_quickly(server))
    if given.parent_pid is not None:
        when_parent_ends(given.parent_pid, lambda: stop_quickly(server))
    serve_parent(server)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m convai_lab.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0 takes a free one")
    parser.add_argument("--watch-stdin", action="store_true", help="end when standard input closes")
    parser.add_argument("--parent-pid", type=int, help="end when this process is gone")
    parser.add_argument("--allow-origin", action="append", default=[], help="pages of this origin may call too")
    parser.add_argument("--no-keyless", action="store_true", help="ask everybody for the API key")
    return parser


def leave(code: int) -> NoReturn:
    """End this process at once: everything is stored, and tearing down all that is loaded takes 0.2 s."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main())
