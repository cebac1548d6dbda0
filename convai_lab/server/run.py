"""Run: how does the local platform start, say where it is, and stop?"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from convai_lab import settings
from convai_lab.agents.store import AgentStore
from convai_lab.clock import Clock, SystemClock
from convai_lab.conversations.store import ConversationStore
from convai_lab.errors import InvalidValueError, PlatformProcessError
from convai_lab.providers.registry import find_llm
from convai_lab.server.access import Door, is_loopback, read_origins
from convai_lab.server.app import build_app
from convai_lab.server.auth import MIN_KEY_CHARS, key_file, load_or_make_key
from convai_lab.server.context import FindEngines, FindLLM, Platform, find_engines
from convai_lab.server.lifetime import OwnerLock, end_at_the_latest
from convai_lab.server.ports import jupyter_ports
from convai_lab.server.warm_up import warm_up
from convai_lab.settings import Secret
from convai_lab.storage import Database, open_database

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8300
PLATFORM_FILE = "platform.json"
MAX_SOCKET_BYTES = 16 * 1024 * 1024
"""What the websocket layer refuses outright; larger frames than ours allow are answered with an error first."""
SHUTDOWN_SECS = 1
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run: `convai serve` has a flag for each. `open_to_network` is needed for an address others can reach."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    api_key: Secret | None = None
    allow_origins: Sequence[str] = ()
    keyless: bool = True
    open_to_network: bool = False


@dataclass(frozen=True)
class Running:
    """A platform that answers: its address, and where its key is kept (None: the caller gave it)."""

    url: str
    pid: int
    key_file: Path | None


@dataclass
class PlatformServer:
    """A local platform that listens; `run` serves until `stop` is called, from any thread or signal."""

    options: Options = field(default_factory=Options)
    find_llm: FindLLM = find_llm
    find_engines: FindEngines = find_engines
    clock: Clock = field(default_factory=SystemClock)
    home: Path = field(default_factory=settings.home)

    def __post_init__(self) -> None:
        self._server: _Server | None = None
        self._stopped = threading.Event()

    def run(self, *, when_ready: Callable[[Running], None] = lambda _: None) -> None:
        """Serve until stopped; `when_ready` is called once requests are answered.

        Raises:
            InvalidValueError: The address may not be listened on.
            PlatformProcessError: The port is in use.
        """
        options = self.options
        _check(options)
        with contextlib.closing(_listen(options.host, options.port)) as listening:
            url = _url(options.host, listening.getsockname()[1])
            running = Running(url, os.getpid(), None if options.api_key else key_file(self.home))
            with contextlib.closing(OwnerLock(self.home)) as lock, contextlib.closing(open_database(self.home)) as db:
                platform = self._platform(db, owner=lock.owner, port=listening.getsockname()[1])
                platform.conversations.close_abandoned(lock.is_alive)
                with _platform_file(self.home, running, platform):
                    self._serve(platform, listening, lambda: when_ready(running))

    def stop(self) -> None:
        """Let open requests finish for a moment, record open conversations, and end."""
        self._stopped.set()
        if self._server is not None:
            self._server.should_exit = True

    def _platform(self, database: Database, *, owner: str, port: int) -> Platform:
        options = self.options
        door = Door(
            api_key=options.api_key or load_or_make_key(self.home),
            bound_host=options.host,
            allow_origins=read_origins(options.allow_origins),
            keyless=options.keyless,
        )
        return Platform(
            clock=self.clock,
            home=self.home,
            door=door,
            agents=AgentStore(database, self.clock),
            conversations=ConversationStore(database, self.clock),
            find_llm=self.find_llm,
            find_engines=self.find_engines,
            owner=owner,
            own_ports=lambda: jupyter_ports() | {port},
        )

    def _serve(self, platform: Platform, listening: socket.socket, when_ready: Callable[[], None]) -> None:
        config = uvicorn.Config(
            build_app(platform),
            loop="asyncio",
            http="h11",
            ws="websockets-sansio",
            ws_max_size=MAX_SOCKET_BYTES,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=SHUTDOWN_SECS,
        )
        self._server = _Server(config, when_ready)
        if self._stopped.is_set():
            return
        with _stopping_signals(self.stop):
            asyncio.run(self._server.serve(sockets=[listening]))


class _Server(uvicorn.Server):
    """uvicorn, told when it answers; signals are ours to handle, so that the process ends with code 0."""

    def __init__(self, config: uvicorn.Config, when_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and say so."""
        await super().startup(sockets)
        self._when_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def serve(
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    api_key: str | None = None,
    allow_origins: Sequence[str] = (),
    keyless: bool = True,
    open_to_network: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Run the local platform in the foreground until it is interrupted; `say` is told where it is.

    Raises:
        InvalidValueError: A value is wrong, or `host` is not this machine alone and `open_to_network` is false.
        PlatformProcessError: The port is in use.
    """
    log_to_stderr()
    options = Options(
        host=host,
        port=port,
        api_key=None if api_key is None else Secret(api_key),
        allow_origins=allow_origins,
        keyless=keyless,
        open_to_network=open_to_network,
    )

    def ready(running: Running) -> None:
        kept = f"kept in {running.key_file}" if running.key_file else "the one you gave"
        say(f"The local platform answers at {running.url}")
        say(f"Its API key (header xi-api-key) is {kept}")
        say("Press Ctrl-C to stop it")
        warm_up()

    PlatformServer(options).run(when_ready=ready)


def serve_parent(server: PlatformServer) -> None:
    """Run for the process that started us: one line of JSON says where, and the end comes quickly."""

    def ready(running: Running) -> None:
        sys.stdout.write(json.dumps({"url": running.url, "pid": running.pid}) + "\n")
        sys.stdout.flush()
        warm_up()

    server.run(when_ready=ready)


def stop_quickly(server: PlatformServer) -> None:
    """Stop a server whose parent is gone: cleanly if that takes a moment only."""
    end_at_the_latest()
    server.stop()


def log_to_stderr() -> None:
    """Write warnings and errors to standard error, with every known key removed."""
    handler = logging.StreamHandler()
    handler.setFormatter(_ScrubbingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("uvicorn.error").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out what uvicorn says of every connection that we turn away on purpose."""
    return "without completing handshake" not in record.getMessage()


class _ScrubbingFormatter(logging.Formatter):
    """Formats log records, stack traces included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line to write."""
        return settings.scrub(super().format(record))


def _check(options: Options) -> None:
    if not is_loopback(options.host) and not options.open_to_network:
        raise InvalidValueError(
            f"{options.host} can be reached from other machines; the local platform is meant for this one "
            "(127.0.0.1). If you mean it, say so with --open-to-network, and better --no-keyless too",
            field="host",
        )
    if not 0 <= options.port <= 65_535:
        raise InvalidValueError(f"must be from 0 to 65535, got {options.port}", field="port")
    key = options.api_key.reveal() if options.api_key else None
    if key is not None and (len(key) < MIN_KEY_CHARS or not key.isascii() or not key.isprintable() or " " in key):
        raise InvalidValueError(f"must be {MIN_KEY_CHARS} or more printable characters without spaces", field="api_key")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, proto)
    except OSError as error:
        raise InvalidValueError(
            f"{host!r} is not an address of this machine ({error.strerror})", field="host"
        ) from None
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(512)
    except OSError as error:
        listening.close()
        raise PlatformProcessError(
            f"cannot listen on {host} port {port} ({error.strerror}): stop what uses it, or choose another --port"
        ) from None
    return listening


def _url(host: str, port: int) -> str:
    shown = DEFAULT_HOST if host in ("0.0.0.0", "localhost") else "::1" if host == "::" else host  # noqa: S104
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


@contextlib.contextmanager
def _platform_file(home: Path, running: Running, platform: Platform) -> Iterator[None]:
    """Keep `platform.json` while the platform runs, for the command line; with a key of its own nobody finds it."""
    if running.key_file is None:
        yield
        return
    path = home / PLATFORM_FILE
    text = {"url": running.url, "pid": running.pid, "started_at_unix_secs": int(platform.started_at)}
    draft = path.with_name(f".{PLATFORM_FILE}.{running.pid}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(text, file)
    os.replace(draft, path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            if json.loads(path.read_text(encoding="utf-8")) == text:
                path.unlink()


@contextlib.contextmanager
def _stopping_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Stop on SIGINT and SIGTERM, when this is the main thread; signals that are ignored stay so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: stop()) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
