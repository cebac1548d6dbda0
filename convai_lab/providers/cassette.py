"""Cassette: how are vendors' answers recorded, and replayed where there is neither a key nor a network?

A cassette stands between the program and its vendors: language models with the timing of their streams, speech in
and out, tools. Its mode says what happens:

- ``replay`` (the default) answers from the recording alone. No call leaves the machine, no key is needed, and a
  request that was not recorded is a `CassetteMissError`, which names the nearest recording and the first difference.
- ``record`` lets every call through and keeps it, behind what is there already.
- ``refresh`` lets every call through and replaces what was recorded of the same request.
- ``auto`` replays what is there and records what is not.

``CONVAI_LAB_CASSETTE=path[:mode]`` sets it for everything that finds its models and engines by name, also for the
local platform; ``compare(cassette="path[:mode]")`` for one comparison. By hand::

    cassette = as_cassette("support.jsonl:record")            # or Cassette(path, "record")
    llm = cassette.llm(find_live_llm("gpt-4o-mini"))           # record, refresh: asks this model and keeps the answer
    llm = cassette.llm_named("openai", "gpt-4o-mini")          # replay: needs no model and no key
    with cassette.scope("variant/scenario/0"), in_use(cassette):   # whose calls these are; tools are kept too
        ...
    cassette.missed                                            # the first request that nothing answered, or None
    cassette.mark                                              # tells its content from others', for a journal

Rules on this machine (``offline``) and engines that need no network are not recorded: they repeat by themselves.
The n-th time that a request is made it gets the n-th recording of it. Calls made at the same time may come in any
order: a recording of the same scope is taken first, and of a scope that was recorded again the last one. Under a
`VirtualClock` a replay takes exactly the recorded times; in real time it takes none, unless `pace` is asked for.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from convai_lab import settings
from convai_lab.clock import running_virtual_clock
from convai_lab.errors import CassetteMissError, ConvaiLabError, InvalidValueError, ProviderError
from convai_lab.providers.base import LLM
from convai_lab.providers.cassette_file import CassetteFile, Contents, Kind, Recording
from convai_lab.providers.cassette_match import Miss, Shelf, key_of
from convai_lab.providers.cassette_secrets import without_secrets

if TYPE_CHECKING:
    from convai_lab.providers.cassette_llm import CassetteLLM

Mode = Literal["replay", "record", "refresh", "auto"]
MODES: tuple[Mode, ...] = get_args(Mode)


class Cassette:
    """Recordings of calls to vendors, in one file; see the module for the modes.

    Args:
        path: The file, one JSON object a line; ``.gz`` can be replayed only.
        mode: What happens to a call.
        pace: Let a replay in real time take the recorded times.
        repeat: Hand a request's recordings out anew when all are used up, as rerunning a cell wants it. Never let
            this feed statistics: the same answer twice is not two answers.

    Raises:
        InvalidValueError: The mode is none, or the file is no cassette.
        StorageError: The file is not there to be replayed, or cannot be written.
    """

    def __init__(
        self, path: str | os.PathLike[str], mode: Mode = "replay", *, pace: bool = False, repeat: bool = False
    ) -> None:
        if mode not in MODES:
            raise InvalidValueError(f"the mode must be one of {', '.join(MODES)}, got {mode!r}", field="cassette")
        if not str(path).strip():
            raise InvalidValueError("must be the path of a file, then :mode if any", field="cassette")
        self.path, self.mode, self.pace, self.repeat = Path(path).expanduser().absolute(), mode, pace, repeat
        self.missed: CassetteMissError | None = None
        self._file = CassetteFile(self.path)
        self._lock = threading.Lock()
        self._kept_once: set[str] = set()
        if self.is_recording:
            self._file.start()
        self._contents: Contents = self._file.read()
        self._attempt = self._contents.attempt + 1
        self._has_kept = False

    def __repr__(self) -> str:
        return f"Cassette({str(self.path)!r}, {self.mode!r})"

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a Cassette is not sent between processes: pass its path")

    @property
    def is_recording(self) -> bool:
        """Say whether it may write."""
        return self.mode != "replay"

    @property
    def name(self) -> str:
        """What a reader is told: the file's name."""
        return self.path.name

    @property
    def id(self) -> str:
        """What the file is called in its head, however often it is moved."""
        return self._contents.id

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what of the file could not be read."""
        return tuple(self._contents.notes)

    @property
    def mark(self) -> str:
        """What tells it from others in a journal: its id and how often it was refreshed."""
        return f"{self.id}/{self.take}"

    @cached_property
    def take(self) -> int:
        """Which take this is: refreshing begins a new one."""
        return self._contents.take + (self.mode == "refresh" and bool(self._contents.recordings))

    def llm(self, llm: LLM, *, now: Callable[[], float] | None = None, outside: bool = False) -> LLM:
        """Return a model whose answers are recorded or replayed; rules on this machine stay as they are.

        Args:
            now: The clock that measures; the event loop's, when None.
            outside: The model lives in real time: where time is virtual, let it stand still while it is asked.
        """
        if llm.is_offline:
            return llm
        return self.llm_named(llm.provider, llm.model, find=lambda: llm, now=now, outside=outside)

    def llm_named(
        self,
        provider: str,
        model: str,
        *,
        find: Callable[[], LLM] | None = None,
        at: str = "",
        now: Callable[[], float] | None = None,
        outside: bool = False,
    ) -> CassetteLLM:
        """Return a model by its names; `find` gives the one to ask, and is not called to replay.

        Args:
            at: The address of a model that is known by it (custom-llm).
        """
        from convai_lab.providers.cassette_llm import CassetteLLM

        return CassetteLLM(self, provider, model, find=find, at=at, now=now, outside=outside)

    async def tool(self, name: str, arguments: Mapping[str, Any], run: Callable[[], Awaitable[Any]]) -> Any:
        """Return what a tool answered, as plain JSON; `run` runs it where it is not replayed.

        Raises:
            CassetteMissError: It was not recorded.
            ConvaiLabError: The tool failed, or did so when it was recorded.
        """
        from convai_lab.providers.cassette_tool import answered

        return await answered(self, name, arguments, run)

    def find(self, kind: Kind, request: Mapping[str, Any]) -> Recording | None:
        """Return the recording that answers a request now, or None where it is to be asked.

        Raises:
            CassetteMissError: Nothing answers it, and nothing may be asked.
        """
        if self.mode in ("record", "refresh"):
            return None
        found = self._shelf.take(kind, request, scope=SCOPE.get())
        if isinstance(found, Recording):
            return found
        if self.mode == "auto":
            return None
        raise self._remembered(self._error(kind, request, found))

    def peek(self, kind: Kind, request: Mapping[str, Any]) -> Recording | None:
        """Return a recording without using it up."""
        return None if self.mode in ("record", "refresh") else self._shelf.peek(kind, request)

    def keep(self, kind: Kind, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Write one call down."""
        scope = SCOPE.get()
        attempt = self._attempts.get(scope, 1) if self.mode == "auto" else self._attempt
        self._file.add(Recording(kind, dict(request), dict(answer), scope, self.take, attempt=attempt))
        self._has_kept = True

    def keep_once(self, kind: Kind, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Write one call down, unless this was done before."""
        with self._lock:
            is_new = key_of(kind, request) not in self._kept_once
            self._kept_once.add(key_of(kind, request))
        if is_new:
            self.keep(kind, request, answer)

    def of_kind(self, kind: Kind) -> list[Recording]:
        """Return all recordings of a kind."""
        return self._shelf.of_kind(kind)

    def broken_off(self, model: str) -> CassetteMissError:
        """Return the error for whoever wants to hear more than was listened to when it was recorded."""
        return self._remembered(
            CassetteMissError(
                f"{self.name}: the answer was not listened to any further when it was recorded, and now it is; "
                + self._advice(),
                model=model,
            )
        )

    def rewind(self) -> None:
        """Hand all recordings out anew; what is recorded from now on counts instead of what was in the same scope."""
        self._shelf.rewind()
        self.missed = None
        self._attempt, self._has_kept = self._attempt + self._has_kept, False

    async def wait_until(self, secs: float, *, since: float) -> None:
        """Wait until so many seconds after `since` (of the event loop) have passed, if a replay is to take time."""
        if self.pace or running_virtual_clock() is not None:
            await asyncio.sleep(max(0.0, since + secs - asyncio.get_running_loop().time()))

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Say whose calls are made in the body: their own recordings are taken first."""
        token = SCOPE.set(name)
        try:
            yield
        finally:
            SCOPE.reset(token)

    @cached_property
    def _attempts(self) -> dict[str, int]:
        """The last attempt of every scope, which the mode auto goes on with."""
        found: dict[str, int] = {}
        for recording in self._contents.recordings:
            found[recording.scope] = max(recording.attempt, found.get(recording.scope, 1))
        return found

    @cached_property
    def _shelf(self) -> Shelf:
        return Shelf(self._contents.recordings, repeat=self.repeat)

    def _remembered(self, error: CassetteMissError) -> CassetteMissError:
        with self._lock:
            self.missed = self.missed or error
        return error

    def _error(self, kind: Kind, request: Mapping[str, Any], miss: Miss) -> CassetteMissError:
        what = _what(kind, request)
        if miss.times_recorded:
            times = "once" if miss.times_recorded == 1 else f"{miss.times_recorded} times"
            why = f"{what} was recorded {times} and is wanted once more"
        elif miss.nearest is None or miss.difference is None:
            why = f"{what} was not recorded, and nothing like it"
        else:
            why = f"{what} was not recorded; the nearest is line {miss.nearest.line}, in which {miss.difference}"
        read = f" ({'; '.join(self.notes)})" if self.notes else ""
        model = str(request.get("model") or request.get("engine") or "")
        return CassetteMissError(f"{self.name}: {why}{read}; {self._advice()}", model=model)

    def _advice(self) -> str:
        return f"record it with the mode auto or refresh ({self.name}:auto)"


def as_cassette(given: Any, *, repeat: bool = False) -> Cassette | None:
    """Return the cassette that is meant: one, a path with or without ``:mode``, or None.

    Raises:
        InvalidValueError: It is something else, or the file is no cassette.
        StorageError: The file is not there to be replayed.
    """
    if given is None or isinstance(given, Cassette):
        return given
    if not isinstance(given, str | os.PathLike):
        raise InvalidValueError(
            f"must be a Cassette or a path such as support.jsonl:replay, got {type(given).__name__}", field="cassette"
        )
    path, mode = split_mode(os.fspath(given))
    return Cassette(path, mode, repeat=repeat)


def split_mode(given: str) -> tuple[str, Mode]:
    """Return path and mode of ``path[:mode]``.

    Example:
        >>> split_mode("support.jsonl:record"), split_mode("support.jsonl")
        (('support.jsonl', 'record'), ('support.jsonl', 'replay'))

    Raises:
        InvalidValueError: What follows the colon looks like a mode and is none.
    """
    path, colon, mode = given.strip().rpartition(":")
    if colon and mode in MODES:
        return path, mode
    if colon and len(path) > 1 and mode.isalpha():
        raise InvalidValueError(f"the mode must be one of {', '.join(MODES)}, got {mode!r}", field="cassette")
    return given.strip(), "replay"


SCOPE: ContextVar[str] = ContextVar("CASSETTE_SCOPE", default="")
"""In which conversation calls are being made."""
_IN_USE: ContextVar[Cassette | None] = ContextVar("CASSETTE_IN_USE", default=None)
_of_setting: dict[tuple[int, str], Cassette] = {}
_setting_lock = threading.Lock()


@contextmanager
def in_use(cassette: Cassette | None) -> Iterator[None]:
    """Let this cassette serve all that asks for the one in use, in the body."""
    token = _IN_USE.set(cassette)
    try:
        yield
    finally:
        _IN_USE.reset(token)


def cassette_in_use() -> Cassette | None:
    """Return the cassette of this context, else the one that ``CONVAI_LAB_CASSETTE`` names, else None.

    Raises:
        InvalidValueError, StorageError: The setting names something that is no cassette.
    """
    if (here := _IN_USE.get()) is not None:
        return here
    named = settings.setting(settings.CASSETTE_VARIABLE)
    if named is None:
        return None
    slot = (os.getpid(), named)
    with _setting_lock:
        if slot not in _of_setting:
            _of_setting.clear()
            _of_setting[slot] = cast(Cassette, as_cassette(named, repeat=True))
        return _of_setting[slot]


def cassette_name() -> str | None:
    """Return the name of the cassette in use, for a record; None without one, or when it cannot be used."""
    with suppress(ConvaiLabError):
        cassette = cassette_in_use()
        return None if cassette is None else cassette.name
    return None


def plain(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request as it is written and compared: plain JSON without secrets.

    Raises:
        ProviderError: It holds something that is no JSON.
    """
    try:
        return cast(dict[str, Any], without_secrets(json.loads(json.dumps(request))))
    except (TypeError, ValueError, RecursionError) as error:
        raise ProviderError(
            f"a request that is not plain JSON cannot be recorded ({error})", provider="cassette"
        ) from None


def _what(kind: Kind, request: Mapping[str, Any]) -> str:
    """Name a request in a few words."""
    match kind:
        case "llm":
            return f"this request to {request.get('provider')}/{request.get('model')}"
        case "tool":
            return f"this call of the tool {str(request.get('name'))[:80]}"
        case "tts":
            return f"this speech of {request.get('engine')}"
        case "asr":
            return f"this utterance for {request.get('engine')}"
        case _:
            return f"the engine {request.get('engine')}"
