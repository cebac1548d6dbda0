"""Which engine answers to a name, and what is said when it cannot."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.clock import SystemClock
from convai_lab.errors import (
    ForbiddenAddressError,
    InvalidValueError,
    MissingKeyError,
    MissingPackageError,
    NotSupportedError,
)
from convai_lab.providers.base import Mark
from convai_lab.providers.elevenlabs import ElevenLabsTTS
from convai_lab.providers.elevenlabs_realtime import ElevenLabsASR
from convai_lab.providers.offline_speech.installed import is_installed
from convai_lab.providers.registry import aclose_clients
from convai_lab.providers.speech import (
    ENGINES,
    PLATFORMS,
    default_engines,
    find_asr,
    find_tts,
    find_vad,
    known_engines,
)
from convai_lab.providers.speech_api import SpeechApiASR, SpeechApiTTS
from convai_lab.testing.fake_speech_vendors import fake_elevenlabs, fake_openai_speech

CLOCK = SystemClock()


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(server: Any) -> None:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)

    return use


def test_the_stub_engines_need_nothing() -> None:
    engines = default_engines(Agent(), clock=CLOCK, voice_platform="stub")
    assert (engines.asr.name, engines.tts.name, engines.vad.name) == ("stub", "stub", "stub")
    assert find_vad("energy").name == "energy"


def test_a_single_engine_may_be_another_than_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_fake0123456789abcdefghij")
    engines = default_engines(Agent(), clock=CLOCK, voice_platform="stub", tts="elevenlabs", vad="energy")
    assert (engines.asr.name, engines.tts.name, engines.vad.name) == ("stub", "elevenlabs", "energy")


def test_the_agents_voice_settings_reach_elevenlabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_fake0123456789abcdefghij")
    agent = Agent(tts_model="eleven_turbo_v2_5", stability=0.3, similarity_boost=0.6)
    tts = find_tts("elevenlabs", clock=CLOCK, agent=agent)
    assert isinstance(tts, ElevenLabsTTS)
    assert tts.model == "eleven_turbo_v2_5"
    assert find_tts("elevenlabs/eleven_v3", clock=CLOCK, agent=agent).model == "eleven_v3"  # type: ignore[attr-defined]


async def test_elevenlabs_speaks_and_listens_through_the_settings(use: Any) -> None:
    with fake_elevenlabs() as server:
        use(server)
        tts = find_tts("elevenlabs", clock=CLOCK, agent=Agent(tts_model="eleven_flash_v2_5", language="de"))
        marks = [piece async for piece in tts.synthesize("Hallo", voice="Sarah") if isinstance(piece, Mark)]
        asr = find_asr("elevenlabs", clock=CLOCK)
        assert isinstance(asr, ElevenLabsASR)
        stream = asr.open(rate_hz=16000, language="de")
        stream.feed(bytes(32000))
        assert (await stream.finish()).text == "hello"
        await aclose_clients()
        assert server.requests[0].headers["xi-api-key"] == server.sockets[0].received.headers["xi-api-key"]
        assert server.requests[0].body["language_code"] == "de"
    assert len(marks) == 5


async def test_an_address_is_a_compatible_server_that_gets_no_key(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-fake0123456789abcdefghij")
    with fake_openai_speech() as server:
        tts = find_tts(f"{server.base_url}#kokoro", clock=CLOCK)
        assert [piece async for piece in tts.synthesize("Hi", voice="af_heart")]
        asr = find_asr(server.base_url, clock=CLOCK)
        stream = asr.open(rate_hz=16000, language="en")
        stream.feed(bytes(32000))
        assert (await stream.finish()).text == "hello"
        await aclose_clients()
    assert isinstance(tts, SpeechApiTTS)
    assert isinstance(asr, SpeechApiASR)
    assert (server.requests[0].body["model"], server.requests[0].body["voice"]) == ("kokoro", "af_heart")
    assert not any("authorization" in request.headers for request in server.requests)


def test_an_address_that_must_not_be_called_is_refused() -> None:
    with pytest.raises(ForbiddenAddressError):
        find_tts("http://169.254.169.254/v1", clock=CLOCK)


@pytest.mark.parametrize("name", ["elevenlabs", "openai/whisper-1"])
def test_a_missing_key_is_named_with_the_way_to_go_on(name: str) -> None:
    variable = "ELEVENLABS_API_KEY" if name == "elevenlabs" else "OPENAI_API_KEY"
    with pytest.raises(MissingKeyError, match=rf"{variable}.*use the embedded one \(asr: offline\)") as raised:
        find_asr(name, clock=CLOCK)
    assert raised.value.variable == variable
    with pytest.raises(MissingKeyError):
        default_engines(Agent(), clock=CLOCK, voice_platform=name.partition("/")[0])


@pytest.mark.parametrize(
    ("find", "name", "words"),
    [
        (find_asr, "elevenlab", "did you mean elevenlabs"),
        (find_asr, "piper", "piper is a voice engine, not a recogniser"),
        (find_tts, "zzz", "there is no voice engine called 'zzz': there are espeak"),
        (find_vad, "espeak", "not a voice activity detector"),
        (find_vad, "http://127.0.0.1/v1", "there is no"),
        (find_asr, "stub/model", "no models to choose from"),
        (find_asr, "", "is needed"),
        (find_asr, None, "is needed"),
        (find_asr, "a\nb", "one line"),
        (find_asr, "x" * 600, "one line"),
    ],
)
def test_a_name_that_is_none_is_answered_in_words(find: Any, name: Any, words: str) -> None:
    with pytest.raises(InvalidValueError, match=words):
        find(name, clock=CLOCK)


def test_an_unknown_platform_is_answered_in_words() -> None:
    with pytest.raises(InvalidValueError, match=r"voice_platform: there is no .* did you mean offline"):
        default_engines(Agent(), clock=CLOCK, voice_platform="offlin")


def test_a_plug_in_that_is_not_installed_says_how_to_install_it() -> None:
    for engine in ENGINES:
        if engine.takes == "path" and not is_installed(engine.module):
            find: Any = {"asr": find_asr, "tts": find_tts}[engine.kind]
            with pytest.raises(MissingPackageError, match="pip install") as raised:
                find(f"{engine.name}//some/where", clock=CLOCK)
            assert engine.install in str(raised.value)


def test_every_engine_is_listed_with_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {(info.kind, info.name): info for info in known_engines()}
    assert {(engine.kind, engine.name) for engine in ENGINES} <= set(listed)
    assert listed["asr", "stub"].is_ready
    assert listed["tts", "elevenlabs"].problem == "set ELEVENLABS_API_KEY"
    assert (listed["tts", "elevenlabs"].key_variable, listed["tts", "elevenlabs"].has_key) == (
        "ELEVENLABS_API_KEY", False,
    )  # fmt: skip
    for info in listed.values():
        assert info.installed or info.problem == info.install != ""
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_fake0123456789abcdefghij")
    assert {info.name: info.is_ready for info in known_engines()}["elevenlabs"]


def test_every_platform_names_engines_of_the_table() -> None:
    names = {(engine.kind, engine.name) for engine in ENGINES}
    for asr, tts, vad in PLATFORMS.values():
        assert {("asr", asr), ("tts", tts), ("vad", vad)} <= names


def test_no_two_engines_of_a_kind_share_a_name() -> None:
    names = [(engine.kind, name) for engine in ENGINES for name in (engine.name, *engine.aliases)]
    assert len(names) == len(set(names))


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with speech engines, as pip would leave it."""
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[convai_lab.providers]\nacme = acme_speech:AcmeTTS\nacmeless = acme_speech:Gone\nacmellm = acme_speech:LLM\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    module = types.ModuleType("acme_speech")
    exec(
        "class AcmeTTS:\n"
        "    name = 'acme'\n"
        "    def __init__(self, *, language='en', model='standard'):\n"
        "        self.language, self.model = language, model\n"
        "    def synthesize(self, text, *, voice, speed=1.0): ...\n"
        "class LLM:\n"
        "    def stream(self, request): ...\n",
        module.__dict__,
    )
    monkeypatch.setitem(sys.modules, "acme_speech", module)


@pytest.mark.skipif(not is_installed("pocketsphinx"), reason="needs the embedded engines")
def test_a_language_that_the_recogniser_does_not_understand_is_refused_before_anybody_speaks() -> None:
    with pytest.raises(InvalidValueError, match=r"language.* pocketsphinx understands only en, not 'de': choose .*asr"):
        default_engines(Agent(language="de"), clock=CLOCK)
    assert default_engines(Agent(language="en-GB"), clock=CLOCK).asr.name == "pocketsphinx"
    assert default_engines(Agent(language="de"), clock=CLOCK, asr="stub").asr.name == "stub"


@pytest.mark.usefixtures("outside")
def test_another_package_may_bring_an_engine() -> None:
    tts: Any = find_tts("acme/fast", clock=CLOCK, agent=Agent(language="fr"))
    assert (tts.language, tts.model) == ("fr", "fast")
    assert ("tts", "acme") in {(info.kind, info.name) for info in known_engines()}
    assert "acmellm" not in {info.name for info in known_engines()}
    with pytest.raises(InvalidValueError, match="acme is something else, not a recogniser"):
        find_asr("acme", clock=CLOCK)
    with pytest.raises(NotSupportedError, match=r"acmeless .* cannot be loaded"):
        find_tts("acmeless", clock=CLOCK)


def test_importing_the_table_loads_no_engine_and_no_client() -> None:
    code = (
        "import sys, convai_lab.providers.speech as s; s.known_engines(); "
        "print([m for m in ('httpx', 'aiohttp', 'websockets', 'numpy', 'pocketsphinx', 'espeakng_loader') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
