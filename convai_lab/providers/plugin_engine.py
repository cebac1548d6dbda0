"""Plug-in engine: how does an engine that somebody has installed load its weights, and run without blocking anybody?

Nothing is ever downloaded: weights lie in ``voices/<engine>`` of the data folder, or where the name says.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import threading
import zlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

from convai_lab import settings
from convai_lab.agents.voices import VOICES, voice_name
from convai_lab.clock import Clock, SystemClock
from convai_lab.errors import (
    ConvaiLabError,
    InvalidValueError,
    MissingPackageError,
    ProviderError,
    ProviderRequestError,
)
from convai_lab.providers.base import AudioChunk, Mark, TTSCapabilities
from convai_lab.providers.offline_speech.installed import is_installed

T = TypeVar("T")

VOICES_FOLDER = "voices"
MOST_LOADED = 4
"""So many sets of weights stay in memory, those that were used last."""
CHUNK_SECS = 0.1
SPEEDS = (0.5, 2.0)
LOW_VOICES = frozenset({"Adam", "Bill", "Brian", "Callum", "Charlie", "Chris", "Daniel", "Eric", "George", "Harry",
                        "Liam", "River", "Roger", "Will"})  # fmt: skip


class _Worker:
    """One set of weights in memory, and the thread that loads and runs them."""

    def __init__(self, name: str, module: Any) -> None:
        self.module, self.engine, self.lock = module, cast(Any, None), threading.Lock()
        self.pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=f"convai-{name}")


_workers: OrderedDict[tuple[Any, ...], _Worker] = OrderedDict()
_workers_lock = threading.Lock()


def _worker(plugin: type[Plugin], path: Path, module: Any) -> _Worker:
    """Return the worker of these weights, as they lie there now: a new session finds them loaded."""
    key = (plugin, path.resolve(), path.stat().st_mtime_ns, id(module))
    with _workers_lock:
        worker = _workers.pop(key) if key in _workers else _Worker(plugin.name, module)
        _workers[key] = worker
        while len(_workers) > MOST_LOADED:
            _workers.popitem(last=False)
        return worker


class Plugin(ABC):
    """The base of the plug-ins: a package, weights on this machine, and one thread that loads and runs the engine.

    Those of the same weights share both, so that only the first session waits for them to be loaded.

    Args:
        path: The weights; by default ``voices/<engine>`` of the data folder.
        module: The engine's Python module, to be given by tests; imported on first use when None.

    Raises:
        MissingPackageError: The package is not installed; the message says how to install it.
        InvalidValueError: There are no weights; the message names the path.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    module_name: ClassVar[str]
    extra: ClassVar[str]
    weights: ClassVar[str]
    """What the weights are, in words."""

    def __init__(self, path: str | Path | None = None, *, clock: Clock | None = None, module: Any = None) -> None:
        if module is None and not is_installed(self.module_name):
            raise MissingPackageError(self.package, extra=self.extra, needed_for=f"the speech engine {self.name}")
        self.path = self.find_weights(path)
        self._clock = clock or SystemClock()
        self._worker = _worker(type(self), self.path, module)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @classmethod
    def find_weights(cls, path: str | Path | None = None) -> Path:
        """Return where the weights are.

        Raises:
            InvalidValueError: They are not there.
        """
        home = settings.home() / VOICES_FOLDER / cls.name
        wanted = Path(path).expanduser() if path else home
        for place in (wanted, home / wanted):
            if place.exists():
                return place
        raise InvalidValueError(
            f"{wanted} is not there; nothing is downloaded, so put {cls.weights} there, or name the place: "
            f"{cls.name}/PATH",
            field=f"{cls.name} weights",
        )

    @abstractmethod
    def load(self, module: Any) -> Any:
        """Load the engine; called once, on its own thread."""

    def engine(self) -> Any:
        """Return the engine, loading it when it is first needed; only on its own thread."""
        worker = self._worker
        with worker.lock:
            if worker.engine is None:
                worker.engine = self.load(worker.module or importlib.import_module(self.module_name))
            return worker.engine

    def begin(self, work: Callable[[], T]) -> concurrent.futures.Future[T]:
        """Let the engine's thread do something, after all that it was given before."""
        return self._worker.pool.submit(work)

    async def run(self, work: Callable[[], T]) -> T:
        """Wait for the engine's thread to do something.

        Raises:
            ProviderError: The engine failed, in whatever way of its own.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker.pool, work)
        except ConvaiLabError:
            raise
        except Exception as error:  # an engine may raise anything; whoever listens is told in words
            raise self.failure(error) from error

    def failure(self, error: BaseException) -> ProviderError:
        """Return what an engine's own exception is to us."""
        words = settings.scrub(" ".join(str(error).split())[:300])
        return ProviderError(
            f"failed with {self.path} ({type(error).__name__}: {words})", provider=self.name, model=self.path.name
        )


class PluginTTS(Plugin):
    """A voice of a plug-in: its speech comes from a generator that runs on the engine's thread."""

    capabilities: TTSCapabilities

    @abstractmethod
    def speak(self, text: str, voice: str, speed: float) -> Iterator[bytes]:
        """Yield the speech in pieces of whatever length; runs on the engine's thread."""

    async def synthesize(self, text: str, *, voice: str, speed: float = 1.0) -> AsyncIterator[AudioChunk | Mark]:
        """Yield the speech in chunks of 100 ms; no marks.

        Raises:
            ProviderError: The engine failed, or does not know the voice.
            InvalidValueError: The speed is out of range.
        """
        if not SPEEDS[0] <= speed <= SPEEDS[1]:
            raise InvalidValueError(f"from {SPEEDS[0]} to {SPEEDS[1]}, got {speed}", field="speed")
        if not text.strip():
            return
        pieces = iter(self.speak(text, voice, speed))
        size, sent = 2 * int(self.capabilities.rate_hz * CHUNK_SECS), 0
        try:
            while (pcm := await self.run(lambda: next(pieces, None))) is not None:
                for start in range(0, len(pcm), size):
                    yield AudioChunk(pcm[start : start + size], sent + start // 2)
                sent += len(pcm) // 2
        finally:
            self.begin(lambda: getattr(pieces, "close", lambda: None)())


def pick_voice(engine: str, voice: str, available: Sequence[str]) -> str:
    """Return which of an engine's voices speaks: the one of that name, or a stand-in for one of ElevenLabs'.

    Kokoro's names say the language and the sex of a voice (``bm_george``); a stand-in has the same, and is always
    the same one.

    Raises:
        ProviderRequestError: There is no such voice.
    """
    wanted = voice_name(voice.strip())
    if wanted in available:
        return wanted
    known = next((name for name in VOICES if name.lower() == wanted.lower()), None)
    if known is None or not available:
        raise ProviderRequestError(
            f"has no voice called {wanted[:60]!r}; there are {', '.join(available[:20]) or 'none'}", provider=engine
        )
    namesake = [name for name in available if name.lower().partition("_")[2] == known.lower()]
    register = "m" if known in LOW_VOICES else "f"
    alike = [name for name in available if name[1:3] == f"{register}_" and name[0] in "ab"]
    choice = sorted(namesake or alike or available)
    return choice[zlib.crc32(known.encode()) % len(choice)]


def floats_of(pcm: bytes) -> Any:
    """Return samples as numbers from -1 to 1."""
    import numpy as np

    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768


def samples_of(floats: Any) -> bytes:
    """Return numbers from -1 to 1 as samples; what is out of range or no number is kept in bounds."""
    import numpy as np

    samples = np.nan_to_num(np.asarray(floats, dtype=np.float32)).clip(-1, 1) * 32767
    return samples.astype("<i2").tobytes()
