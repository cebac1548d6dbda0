"""Speech in and out, and tools, on a cassette."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import WebhookTool, tool
from convai_lab.clock import SystemClock, VirtualClock
from convai_lab.conversations.turn import ToolCall, ToolResult
from convai_lab.dialogue.tool_runner import ToolRunner
from convai_lab.errors import (
    CassetteMissError,
    InvalidValueError,
    MissingKeyError,
    ProviderError,
    ToolNotAvailableError,
)
from convai_lab.providers.base import AudioChunk, Final
from convai_lab.providers.cassette import Cassette, in_use
from convai_lab.providers.cassette_speech import taped_engine
from convai_lab.providers.speech import find_asr, find_tts
from convai_lab.providers.stub_speech import StubASR, StubTTS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "voice.jsonl"


def remote(engine: Any) -> Any:
    """Return an engine of this machine as if it were a vendor's."""
    engine.capabilities = replace(engine.capabilities, needs_network=True)
    return engine


def nobody() -> Any:
    raise AssertionError("nobody must be asked")


def taped(cassette: Cassette, kind: Any, find: Any = nobody, **settings: Any) -> Any:
    return taped_engine(cassette, kind, "cloud/v2", settings, find, is_remote=True)


async def spoken(engine: Any, clock: VirtualClock, text: str = "Where is it?") -> list[Any]:
    began = clock.now()
    return [(clock.now() - began, piece) async for piece in engine.synthesize(text, voice="George")]


def test_speech_comes_back_with_its_sound_its_marks_and_its_times(path: Path) -> None:
    clock = VirtualClock()
    live = taped(
        Cassette(path, "record"), "tts", lambda: remote(StubTTS(clock, first_byte_secs=0.2, realtime_factor=0.5))
    )
    said = clock.run(spoken(live, clock))
    assert said[-1][0] > 0.5
    again, engine = VirtualClock(), taped(Cassette(path), "tts")
    assert again.run(spoken(engine, again)) == said
    assert engine.capabilities == live.capabilities
    assert engine.name == "stub"
    with pytest.raises(
        CassetteMissError, match=r"this speech of cloud/v2 was not recorded; .* text is from character 10 on"
    ):
        again.run(spoken(engine, again, "Where is mine?"))


async def test_equal_sound_is_written_once(path: Path) -> None:
    live = taped(Cassette(path, "record"), "tts", lambda: remote(StubTTS()))
    for _ in range(3):
        _ = [piece async for piece in live.synthesize("Hello", voice="George")]
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert sum("part" in line for line in kept) == 1
    assert [line["kind"] for line in kept if "kind" in line] == ["engine", "tts", "tts", "tts"]


async def test_a_voices_error_and_an_interruption_come_back(path: Path) -> None:
    class Failing(StubTTS):
        async def synthesize(self, text: str, **_: Any) -> Any:
            yield AudioChunk(b"\0\0", 0)
            raise ProviderError("no such voice", provider="cloud", status=404)

    live = taped(Cassette(path, "record"), "tts", lambda: remote(Failing()))
    with pytest.raises(ProviderError):
        _ = [piece async for piece in live.synthesize("Hi", voice="x")]
    stream = live.synthesize("Bye", voice="x")
    await anext(stream)
    await stream.aclose()
    engine = taped(Cassette(path), "tts")
    stream = engine.synthesize("Hi", voice="x")
    assert await anext(stream) == AudioChunk(b"\0\0", 0)
    with pytest.raises(ProviderError, match="no such voice") as error:
        await anext(stream)
    assert error.value.status == 404
    stream = engine.synthesize("Bye", voice="x")
    assert await anext(stream) == AudioChunk(b"\0\0", 0)
    with pytest.raises(CassetteMissError, match="not listened to"):
        await anext(stream)


def listened(engine: Any, clock: VirtualClock, pcm: bytes, step: int = 3200) -> tuple[list[Any], Final, float]:
    async def run() -> tuple[list[Any], Final, float]:
        stream = engine.open(rate_hz=16000, language="en", phrases=("order",))
        beliefs = []
        for start in range(0, len(pcm), step):
            stream.feed(pcm[start : start + step])
            beliefs.append(stream.partial())
        began = clock.now()
        final = await stream.finish()
        assert await stream.finish() is final
        stream.abort()
        return beliefs, final, round(clock.now() - began, 6)

    return clock.run(run())


def test_what_was_heard_comes_back_belief_by_belief(path: Path) -> None:
    pcm, _ = StubTTS().render("where is my order")
    clock = VirtualClock()
    live = taped(Cassette(path, "record"), "asr", lambda: remote(StubASR(clock, finish_secs=0.3)))
    heard = listened(live, clock, pcm)
    assert heard[1].text == "where is my order"
    assert len({belief.text for belief in heard[0] if belief}) > 1
    engine = taped(Cassette(path), "asr")
    assert listened(engine, VirtualClock(), pcm) == heard
    assert heard[2] == 0.3
    with pytest.raises(CassetteMissError, match=r"this utterance for cloud/v2 was recorded once"):
        listened(engine, VirtualClock(), pcm)
    with pytest.raises(CassetteMissError, match=r"samples is \d+ and was \d+"):
        listened(taped(Cassette(path), "asr"), VirtualClock(), pcm[:-2000])


async def test_engines_of_this_machine_are_not_recorded_and_unknown_ones_are_missed(path: Path) -> None:
    voice = StubTTS()
    assert taped(Cassette(path, "record"), "tts", lambda: voice) is voice
    with pytest.raises(CassetteMissError, match="the engine cloud/v2 was not recorded"):
        taped(Cassette(path), "tts")


async def test_a_vendors_engines_need_no_key_to_be_replayed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "xi-0123456789abcdef")
    agent = Agent(name="A", tts_model="eleven_flash_v2", stability=0.4)
    with in_use(Cassette(path, "record")):
        voice = find_tts("elevenlabs", clock=SystemClock(), agent=agent)
        ears = find_asr("elevenlabs", clock=SystemClock(), agent=agent)
    monkeypatch.delenv("ELEVENLABS_API_KEY")
    with pytest.raises(MissingKeyError):
        find_tts("elevenlabs", clock=SystemClock(), agent=agent)
    with in_use(Cassette(path)):
        assert find_tts("elevenlabs", clock=SystemClock(), agent=agent).capabilities == voice.capabilities
        assert find_asr("elevenlabs", clock=SystemClock(), agent=agent).capabilities == ears.capabilities
        with pytest.raises(CassetteMissError, match=r"settings.stability is 0.9 and was 0.4"):
            find_tts("elevenlabs", clock=SystemClock(), agent=agent.with_changes(stability=0.9))
        assert find_tts("stub", clock=SystemClock()).name == "stub"
    assert "xi-0123" not in path.read_text()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"audio": 7}, "a part needs a name|must name parts"),
        ({"pieces": [[0, "pcm", 0, 10**9]]}, r"pieces\[0\]: fits neither"),
        ({"pieces": [["x", "mark", 0, 0, 0]]}, "must be seconds"),
        ({"ended": -1}, "must be seconds"),
    ],
)
async def test_speech_that_was_edited_into_nonsense_is_refused(path: Path, changed: Any, said: str) -> None:
    live = taped(Cassette(path, "record"), "tts", lambda: remote(StubTTS()))
    _ = [piece async for piece in live.synthesize("Hi", voice="x")]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[-1]["answer"].update(changed)
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    with pytest.raises(InvalidValueError, match=said):
        _ = [piece async for piece in taped(Cassette(path), "tts").synthesize("Hi", voice="x")]


@tool
def order_status(order_id: str) -> dict[str, str]:
    """Look up an order."""
    return {"order": order_id}


ORDER = ToolCall(id="c1", name="order_status", arguments={"order_id": "7"})


async def test_results_of_client_tools_are_replayed_and_marked(path: Path) -> None:
    ran: list[str] = []

    async def desk(call: ToolCall, _secs: float) -> ToolResult:
        ran.append(call.id)
        if call.arguments["order_id"] == "9":
            raise ToolNotAvailableError("gone", tool=call.name)
        return ToolResult(call_id=call.id, name=call.name, value=f"order {len(ran)}")

    agent = Agent(name="A", tools=(order_status,))
    gone = replace(ORDER, arguments={"order_id": "9"})
    runner = ToolRunner(agent, client_tool=desk, clock=SystemClock())
    with in_use(Cassette(path, "record")):
        live = [await runner.run(call) for call in (ORDER, ORDER, gone)]
    with in_use(Cassette(path)):
        again = [await runner.run(replace(call, id="c2")) for call in (ORDER, ORDER, gone)]
        missing = await runner.run(replace(ORDER, arguments={"order_id": "8"}))
    assert len(ran) == 3
    assert [r.value for r in live[:2]] == ["order 1", "order 2"]
    for one, other in zip(live, again, strict=True):
        assert (one.value, one.is_error, one.error_type) == (other.value, other.is_error, other.error_type)
    assert again[0].call_id == "c2"
    assert again[0].extra == {"replayed": True}
    assert missing.is_error
    assert "arguments.order_id is '8' and was '" in missing.value


async def test_a_webhook_is_not_called_when_it_is_replayed(path: Path) -> None:
    hook = WebhookTool(name="crm", description="", url="http://127.0.0.1:9/x", method="GET")
    runner = ToolRunner(Agent(name="A", tools=(hook,)), clock=SystemClock())
    call = ToolCall(id="c", name="crm", arguments={})
    with in_use(Cassette(path, "record")):
        live = await runner.run(call)
    assert live.is_error
    recorded = path.read_text()
    path.write_text(recorded.replace(json.dumps(live.value)[1:-1], "It answered."))
    with in_use(Cassette(path)):
        assert (await runner.run(call)).value == "It answered."


def test_a_tool_that_took_too_long_does_so_again_in_virtual_time(path: Path) -> None:
    async def desk(call: ToolCall, _secs: float) -> ToolResult:
        await asyncio.sleep(1000)
        raise AssertionError

    results = []
    for mode in ("record", "replay"):
        clock = VirtualClock()
        runner = ToolRunner(Agent(name="A", tools=(order_status,)), client_tool=desk, clock=clock)
        with in_use(Cassette(path, mode)):  # type: ignore[arg-type]
            results.append(clock.run(runner.run(ORDER)))
    assert results[0].error_type == "timeout"
    assert (results[0].value, results[0].latency_secs) == (results[1].value, results[1].latency_secs)
