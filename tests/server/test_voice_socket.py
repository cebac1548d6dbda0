"""A voice conversation over the socket: the agent is heard, understands, gives way, and is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convai_lab import settings
from convai_lab.clock import VirtualClock
from convai_lab.providers.stub_speech import StubASR
from convai_lab.testing.fake_llm import FakeLLM, Reply, call
from convai_lab.voice.recording import slice_recording

Make = Callable[..., Any]
HELLO = {"conversation_config__agent__first_message": "Hello there."}
ALL_EVENTS = [
    "audio",
    "interruption",
    "agent_response",
    "agent_response_correction",
    "agent_chat_response_part",
    "user_transcript",
    "tentative_user_transcript",
    "vad_score",
    "agent_tool_request",
    "agent_tool_response",
]
WANTS_ALL = {"conversation_config__conversation__client_events": ALL_EVENTS}
LONG = "This answer goes on and on because there is so very much to say about your order today."


def formats(name: str) -> dict[str, Any]:
    return {
        "conversation_config__asr__user_input_audio_format": name,
        "conversation_config__tts__agent_output_audio_format": name,
    }


@pytest.mark.parametrize(
    "name", ["pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000"]
)
def test_both_sides_understand_each_other_in_every_format(
    name: str, virtual: VirtualClock, virtual_bench: Make, phone: Any
) -> None:
    bench = virtual_bench(FakeLLM(["It ships tomorrow."]))
    caller = phone(bench, bench.line(bench.make_agent(**formats(name))), user=name, agent=name)

    async def talk() -> str:
        await caller.call()
        await caller.say("where is my order")
        await caller.hear("agent_response")
        await virtual.sleep(5)
        await caller.hang_up()
        return str(await caller.understood())

    assert virtual.run(talk()) == "It ships tomorrow."
    assert caller.of("user_transcript")[0]["user_transcription_event"]["user_transcript"] == "where is my order"
    conversation = bench.only_conversation()
    assert [(turn.role, turn.text) for turn in conversation] == [
        ("user", "where is my order"),
        ("agent", "It ships tomorrow."),
    ]
    assert (conversation.channel, conversation.has_audio, conversation.status) == ("voice", True, "done")


def test_audio_comes_with_the_time_of_every_character(virtual: VirtualClock, virtual_bench: Make, phone: Any) -> None:
    bench = virtual_bench()
    caller = phone(bench, bench.line(bench.make_agent(**HELLO)))

    async def talk() -> None:
        await caller.call()
        await virtual.sleep(3)
        await caller.hang_up()

    virtual.run(talk())
    said, lasted_ms = "", 0.0
    for event in caller.of("audio"):
        alignment = event["audio_event"].get("alignment") or {"chars": [], "char_start_times_ms": []}
        said += "".join(alignment["chars"])
        lasted_ms += len(event["audio_event"]["audio_base_64"]) * 3 / 4 / 2 / 16
        assert alignment["char_start_times_ms"] == sorted(alignment["char_start_times_ms"])
    assert said.strip() == "Hello there."
    assert lasted_ms > 500


def test_a_like_given_while_the_agent_still_speaks_is_kept(
    virtual: VirtualClock, virtual_bench: Make, phone: Any
) -> None:
    bench = virtual_bench(FakeLLM([LONG]))
    caller = phone(bench, bench.line(bench.make_agent(**WANTS_ALL)))

    async def talk() -> None:
        await caller.call()
        await caller.say("tell me everything")
        told = (await caller.hear("agent_response"))["agent_response_event"]
        await caller.line.send({"type": "feedback", "event_id": told["event_id"], "score": "like"})
        await virtual.sleep(10)
        await caller.hang_up()

    virtual.run(talk())
    answer = bench.only_conversation().turns[1]
    assert answer.extra["feedback"]["score"] == "like"
    assert answer.tts_engine == "stub"


def test_an_interruption_is_told_corrected_and_followed_by_larger_event_ids(
    virtual: VirtualClock, virtual_bench: Make, phone: Any
) -> None:
    bench = virtual_bench(FakeLLM([LONG, "Sorry."]))
    caller = phone(bench, bench.line(bench.make_agent(**WANTS_ALL)))

    async def talk() -> str:
        await caller.call()
        await caller.say("tell me everything")
        await caller.hear("audio")
        await virtual.sleep(2.0)
        await caller.say("stop please stop talking")
        await caller.hear("agent_response", 2)
        await virtual.sleep(3)
        await caller.hang_up()
        return str(await caller.understood(caller.audio_ids[-1]))

    assert virtual.run(talk()) == "Sorry."
    cut = caller.of("interruption")[-1]["interruption_event"]["event_id"]
    kinds = caller.kinds
    assert kinds.index("interruption") < kinds.index("agent_response_correction")
    after = caller.events[len(kinds) - 1 - kinds[::-1].index("interruption") :]
    assert all(event["audio_event"]["event_id"] > cut for event in after if event["type"] == "audio")
    assert caller.audio_ids == sorted(caller.audio_ids)
    corrected = caller.of("agent_response_correction")[0]["agent_response_correction_event"]
    assert corrected["original_agent_response"] == LONG
    assert LONG.startswith(corrected["corrected_agent_response"])
    assert 0 < len(corrected["corrected_agent_response"]) < len(LONG)
    turns = bench.only_conversation().turns
    assert (turns[1].interrupted, turns[1].text_heard) == (True, corrected["corrected_agent_response"])


def test_guesses_and_scores_are_for_clients_that_ask(virtual: VirtualClock, virtual_bench: Make, phone: Any) -> None:
    def kinds(**config: Any) -> set[str]:
        bench = virtual_bench(FakeLLM(["Yes."] * 2))
        caller = phone(bench, bench.line(bench.make_agent(**config)))

        async def talk() -> None:
            await caller.call()
            await caller.say("are you open on sundays")
            await caller.hear("agent_response")
            await virtual.sleep(2)
            await caller.hang_up()

        virtual.run(talk())
        return set(caller.kinds)

    extra = {"tentative_user_transcript", "vad_score", "agent_chat_response_part"}
    assert extra <= kinds(**WANTS_ALL)
    assert not extra & kinds(conversation_config__conversation__client_events=["audio", "interruption"])


def test_a_client_tool_is_called_and_its_result_spoken(virtual: VirtualClock, virtual_bench: Make, phone: Any) -> None:
    tool = {"type": "client", "name": "order_status", "description": "Look up.", "expects_response": True}
    bench = virtual_bench(FakeLLM([call("order_status"), "It has shipped."]))
    caller = phone(bench, bench.line(bench.make_agent(conversation_config__agent__prompt__tools=[tool], **WANTS_ALL)))

    async def talk() -> str:
        await caller.call()
        await caller.say("where is it")
        asked = (await caller.hear("client_tool_call"))["client_tool_call"]
        answer = {"type": "client_tool_result", "tool_call_id": asked["tool_call_id"], "result": "shipped"}
        await caller.line.send(answer)
        await caller.hear("agent_response")
        await virtual.sleep(3)
        await caller.hang_up()
        return str(await caller.understood())

    assert virtual.run(talk()) == "It has shipped."
    assert bench.only_conversation().turns[1].tool_results[0].value == "shipped"


def test_end_call_is_told_only_after_the_goodbye_was_heard(
    virtual: VirtualClock, virtual_bench: Make, phone: Any
) -> None:
    end_call = {"type": "system", "name": "end_call", "params": {"system_tool_type": "end_call"}}
    goodbye = "Goodbye and have a very nice day."
    bench = virtual_bench(FakeLLM([call("end_call", reason="done", message=goodbye)]))
    caller = phone(
        bench, bench.line(bench.make_agent(conversation_config__agent__prompt__tools=[end_call], **WANTS_ALL))
    )

    async def talk() -> tuple[float, float, str]:
        await caller.call()
        await caller.say("bye")
        await caller.hear("audio")
        began = virtual.now()
        closed = await caller.end()
        assert closed.code == 1000
        return began, virtual.now(), str(await caller.understood())

    began, ended, understood = virtual.run(talk())
    assert understood == goodbye
    assert ended - began >= len(caller.heard()) / 2 / 16000 - 0.05
    assert caller.kinds[-1] == "agent_tool_response"
    assert bench.only_conversation().end_reason == "end_call"


def test_typed_words_are_answered_by_voice(virtual: VirtualClock, virtual_bench: Make, phone: Any) -> None:
    bench = virtual_bench(FakeLLM(["I can read too."]))
    caller = phone(bench, bench.line(bench.make_agent()))

    async def talk() -> str:
        await caller.call()
        await caller.line.say("can you read")
        await caller.hear("agent_response")
        await virtual.sleep(3)
        await caller.line.send({"type": "user_activity"})
        await caller.line.send({"type": "contextual_update", "text": "The user looks happy."})
        await caller.hang_up()
        return str(await caller.understood())

    assert virtual.run(talk()) == "I can read too."


def test_both_sides_are_recorded_at_the_times_of_the_transcript(
    virtual: VirtualClock, virtual_bench: Make, phone: Any
) -> None:
    bench = virtual_bench(FakeLLM(["It ships tomorrow."]))
    caller = phone(bench, bench.line(bench.make_agent(**HELLO)))

    async def talk() -> None:
        await caller.call()
        await virtual.sleep(2.5)
        await caller.say("where is my order")
        await caller.hear("agent_response", 2)
        await virtual.sleep(4)
        await caller.hang_up()

    virtual.run(talk())
    conversation = bench.only_conversation()
    path = settings.home() / "audio" / f"{conversation.id}.wav"
    for turn in conversation:
        part = slice_recording(path, max(0, turn.start_secs - 0.1), turn.end_secs + 0.1, turn.role)
        assert words(part.pcm, part.rate_hz) == turn.text
    assert path.stat().st_mode & 0o077 == 0


def words(pcm: bytes, rate_hz: int) -> str:
    stream = StubASR().open(rate_hz=rate_hz)
    stream.feed(pcm)

    async def finish() -> str:
        return (await stream.finish()).text

    return VirtualClock().run(finish())


def test_an_agent_whose_privacy_forbids_it_is_not_recorded(
    virtual: VirtualClock, virtual_bench: Make, phone: Any
) -> None:
    bench = virtual_bench()
    caller = phone(bench, bench.line(bench.make_agent(**HELLO, platform_settings__privacy__record_voice=False)))

    async def talk() -> None:
        await caller.call()
        await virtual.sleep(2)
        await caller.hang_up()

    virtual.run(talk())
    assert not bench.only_conversation().has_audio
    assert not list(Path(settings.home()).glob("audio/*.wav"))


def test_a_disk_that_takes_no_sound_costs_the_recording_alone(
    virtual: VirtualClock, virtual_bench: Make, phone: Any
) -> None:
    (settings.home() / "audio").write_text("in the way")
    bench = virtual_bench()
    caller = phone(bench, bench.line(bench.make_agent(**HELLO)))

    async def talk() -> str:
        await caller.call()
        await virtual.sleep(2)
        await caller.hang_up()
        return str(await caller.understood())

    assert virtual.run(talk()) == "Hello there."
    assert not bench.only_conversation().has_audio


def test_pings_tell_the_round_trip(virtual: VirtualClock, virtual_bench: Make, phone: Any) -> None:
    bench = virtual_bench()
    caller = phone(bench, bench.line(bench.make_agent(**HELLO)))

    async def talk() -> None:
        await caller.call()
        await virtual.sleep(0.08)
        await caller.line.send({"type": "pong", "event_id": 1})
        await virtual.sleep(6)
        await caller.hang_up()

    virtual.run(talk())
    assert caller.line.pings[0]["ping_ms"] is None
    assert math.isclose(caller.line.pings[1]["ping_ms"], 80, abs_tol=2)


def test_a_model_that_fails_ends_the_call_in_words(virtual: VirtualClock, virtual_bench: Make, phone: Any) -> None:
    from convai_lab.errors import ProviderStreamError

    broken = Reply(error=ProviderStreamError("it broke", provider="fake", model="m"))
    bench = virtual_bench(FakeLLM([broken]))
    caller = phone(bench, bench.line(bench.make_agent()))

    async def talk() -> Any:
        await caller.call()
        await caller.say("hello there")
        return await caller.end()

    assert virtual.run(talk()).code == 1002
    assert "it broke" in caller.of("error")[0]["error_event"]["message"]
    conversation = bench.only_conversation()
    assert (conversation.status, conversation.turns[0].text) == ("failed", "hello there")
