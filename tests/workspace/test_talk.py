"""A voice conversation from files: said at its pace, answered, recorded, and heard again."""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import convai_lab
from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.agents.turn_taking import TurnTaking
from convai_lab.clock import VirtualClock
from convai_lab.errors import (
    ConversationClosedError,
    InvalidValueError,
    NotFoundError,
    NotSupportedError,
    ProviderStreamError,
)
from convai_lab.providers.stub_speech import StubASR, StubTTS
from convai_lab.testing.fake_llm import call
from convai_lab.testing.stub_platform import StubPlatform, stub_platform
from convai_lab.voice.recording import slice_recording
from convai_lab.voice.sound import Sound, silence
from convai_lab.voice.wav import wav_bytes, write_wav
from convai_lab.workspace.chat import partial_conversation
from convai_lab.workspace.devices import read_sounds, speech_end_secs
from convai_lab.workspace.events import AgentCutShort, AgentTurn, Ended, Started, ToolAnswered, UserTurn
from convai_lab.workspace.recordings import ConversationAudio
from convai_lab.workspace.workspace import Workspace

Script = Callable[..., None]
PATIENT = TurnTaking(eagerness="patient", timeout_secs=-1)
"""Whoever sends at the pace of speech is another thread, which may halt for a while in the middle of a sentence."""


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a busy platform as long as it takes: by a fast clock the usual seconds are over soon."""
    monkeypatch.setattr("convai_lab.workspace.talk.UNHEARD_SECS", 60.0)
    monkeypatch.setattr("convai_lab.workspace.talk.AUDIO_SECS", 60.0)


@pytest.fixture
def platform() -> Iterator[StubPlatform]:
    """A platform that speaks in tones, four times as fast as real time."""
    with stub_platform(hurry=4) as made:
        yield made


@pytest.fixture
def local(platform: StubPlatform) -> Workspace:
    return platform.workspace


def spoken(text: str, rate_hz: int = 16000) -> Sound:
    return Sound(StubTTS(rate_hz=rate_hz).render(text)[0], rate_hz)


def words(sound: Sound) -> str:
    stream = StubASR().open(rate_hz=sound.rate_hz)
    stream.feed(sound.pcm + silence(0.5, sound.rate_hz))

    async def finish() -> str:
        return (await stream.finish()).text

    return VirtualClock().run(finish())


@pytest.fixture
def script(platform: StubPlatform) -> Callable[..., None]:
    """Tell the model what to answer."""

    def tell(*replies: Any) -> None:
        platform.llm._replies = list(replies)

    return tell


def test_a_file_is_said_answered_and_recorded(tmp_path: Path) -> None:
    path, out = tmp_path / "order.wav", tmp_path / "out.wav"
    write_wav(path, spoken("where is my order", 22050))
    told: list[Any] = []
    with stub_platform(["It ships tomorrow."], hurry=2) as platform:
        local = platform.workspace
        local.agents.save(Agent(name="support", first_message="Hello {{name}}.", turn=PATIENT))
        conversation = local.talk("support", path, variables={"name": "Ada"}, out=out, on_event=told.append)
        played = [words(as_sound(conversation.audio.turn(n))) for n in (0, 2)]
    assert [(turn.role, turn.text) for turn in conversation] == [
        ("agent", "Hello Ada."),
        ("user", "where is my order"),
        ("agent", "It ships tomorrow."),
    ]
    assert (conversation.channel, conversation.has_audio, conversation.status) == ("voice", True, "done")
    assert isinstance(told[0], Started)
    said = [event.text for event in told if isinstance(event, AgentTurn | UserTurn)]
    assert said == ["Hello Ada.", "where is my order", "It ships tomorrow."]
    assert told[-1] == Ended("user")
    assert words(slice_recording(out, 0, 100, "user")) == "where is my order"
    assert words(slice_recording(out, 0, 100, "agent")) == "Hello Ada. It ships tomorrow."
    assert played == ["Hello Ada.", "It ships tomorrow."]


def as_sound(audio: ConversationAudio) -> Sound:
    import io

    with wave.open(io.BytesIO(audio.data)) as file:
        assert file.getnchannels() == 1
        return Sound(file.readframes(file.getnframes()), file.getframerate())


def test_several_sounds_are_said_each_after_the_answer_to_the_one_before(local: Workspace, script: Script) -> None:
    script("One.", "Two.", "Three.")
    local.agents.save(Agent(name="support", turn=PATIENT))
    sounds = [spoken("first question"), wav_bytes(spoken("second question", 8000)), spoken("third question", 48000)]
    conversation = local.talk("support", sounds, realtime=False)
    assert [turn.text for turn in conversation] == [
        "first question", "One.", "second question", "Two.", "third question", "Three.",
    ]  # fmt: skip
    assert not any(turn.interrupted for turn in conversation)


def test_a_tool_of_the_notebook_runs_during_the_call(local: Workspace, script: Script) -> None:
    @tool
    def order_status_by_voice(order_id: str) -> str:
        """Look up an order."""
        return f"{order_id} has shipped"

    script(call("order_status_by_voice", order_id="7"), "It has shipped.")
    local.agents.save(Agent(name="support", turn=PATIENT, tools=(order_status_by_voice,)))
    told: list[Any] = []
    conversation = local.talk("support", spoken("where is order seven"), on_event=told.append, realtime=False)
    assert conversation.turns[-1].text == "It has shipped."
    assert ToolAnswered("order_status_by_voice", "7 has shipped") in told


def test_talking_over_the_agent_cuts_it_short() -> None:
    long = "This goes on and on because there is so much to say about every single thing you could ask."
    gap = Sound(silence(2.5), 16000)
    barge_in = Sound(spoken("tell me").pcm + gap.pcm + spoken("stop please that is enough").pcm, 16000)
    told: list[Any] = []
    with stub_platform([long, "Sorry."], hurry=2) as platform:
        platform.workspace.agents.save(Agent(name="support", turn=PATIENT))
        conversation = platform.workspace.talk("support", barge_in, on_event=told.append)
    [cut] = [event for event in told if isinstance(event, AgentCutShort)]
    assert long.startswith(cut.heard)
    assert conversation.turns[1].text_heard == cut.heard
    assert conversation.turns[-1].text == "Sorry."


def test_a_call_that_the_agent_ends_is_over_without_an_error(local: Workspace, script: Script) -> None:
    script(call("end_call", reason="done", message="Goodbye."))
    local.agents.save(Agent(name="support", turn=PATIENT, tools=("end_call",)))
    conversation = local.talk("support", [spoken("goodbye"), spoken("nobody hears this")], realtime=False)
    assert conversation.end_reason == "end_call"
    assert [turn.text for turn in conversation] == ["goodbye", "Goodbye."]


def test_silence_is_not_waited_for_for_ever(local: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convai_lab.workspace.talk.UNHEARD_SECS", 6.0)
    local.agents.save(Agent(name="support", turn=PATIENT))
    conversation = local.talk("support", Sound(silence(1.0), 16000))
    assert not any(turn.role == "user" for turn in conversation)


def test_a_sound_can_be_sent_at_once(local: Workspace) -> None:
    local.agents.save(Agent(name="support", turn=PATIENT))
    conversation = local.talk("support", spoken("are you open on sundays"), realtime=False)
    assert [turn.text for turn in conversation] == ["are you open on sundays", "All right."]


async def test_the_twin_is_awaited(local: Workspace) -> None:
    await local.agents.asave(Agent(name="support", turn=PATIENT))
    conversation = await local.atalk("support", spoken("hello"), realtime=False)
    assert conversation.turns[-1].text == "All right."


def test_what_was_said_before_a_failure_comes_with_the_error(local: Workspace, script: Script) -> None:
    script(ProviderStreamError("it broke", provider="fake", model="m"))
    local.agents.save(Agent(name="support", turn=PATIENT))
    with pytest.raises(ConversationClosedError, match="it broke") as failed:
        local.talk("support", spoken("where is my order"), realtime=False)
    partial = partial_conversation(failed.value)
    assert partial is not None
    assert (partial.status, partial.turns[0].text) == ("failed", "where is my order")


@pytest.mark.parametrize(
    ("audio", "why"),
    [
        ("nowhere.wav", "nowhere.wav"),
        (b"\x00\x01", "Sound(pcm, rate_hz)"),
        (b"RIFF\x00\x00\x00\x00WAVE", "damaged"),
        (7, "not int"),
        ([], "from 1 to"),
        (Sound(b"", 16000), "nothing in this sound"),
        ([Sound(b"\0\0", 16000), None], r"audio\[1\]"),
    ],
)
def test_what_is_no_sound_is_refused_in_words(audio: Any, why: str) -> None:
    with pytest.raises(InvalidValueError, match=why.replace("(", r"\(").replace(")", r"\)")):
        read_sounds(audio)


def test_an_empty_file_is_refused_by_its_name(tmp_path: Path) -> None:
    write_wav(tmp_path / "nothing.wav", Sound(b"", 16000))
    with pytest.raises(InvalidValueError, match=r"nothing\.wav holds no sound"):
        read_sounds([tmp_path / "nothing.wav"])


def test_wrong_places_and_agents_are_refused_before_the_call(local: Workspace, tmp_path: Path) -> None:
    local.agents.save(Agent(name="typist", text_only=True))
    local.agents.save(Agent(name="mute", client_events=("agent_response",)))
    local.agents.save(Agent(name="support", turn=PATIENT))
    for agent, out, why in (
        ("support", tmp_path / "out.mp3", "name it out.wav"),
        ("support", tmp_path / "no" / "out.wav", "cannot be written"),
        ("support", tmp_path, "is a folder: name a file in it"),
        ("typist", None, "text_only"),
        ("mute", None, "client_events"),
    ):
        with pytest.raises(InvalidValueError, match=why):
            local.talk(agent, spoken("hello"), out=out)
    assert len(local.conversations.list()) == 0


def test_the_end_of_speech_is_found_by_its_level() -> None:
    sound = Sound(silence(0.5) + spoken("hello").pcm + silence(2), 16000)
    assert abs(speech_end_secs(sound) - (sound.secs - 2)) < 0.05
    assert speech_end_secs(Sound(silence(1), 16000)) == 1.0


def test_a_recording_is_shown_saved_and_cut(local: Workspace, tmp_path: Path) -> None:
    local.agents.save(Agent(name="support", turn=PATIENT))
    conversation = local.talk("support", spoken("hello"), realtime=False)
    audio = local.conversations.audio(conversation.id)
    assert audio.secs is not None
    assert audio.secs > 2
    assert "<audio controls" in audio._repr_html_()
    assert "<script" not in audio._repr_html_()
    assert audio.save(tmp_path / "call.wav").read_bytes() == audio.data
    with pytest.raises(InvalidValueError, match=r"name the file call\.wav"):
        audio.save(tmp_path / "call.mp3")
    with pytest.raises(InvalidValueError, match="no turn 9"):
        audio.turn(9)
    typed = local.chat("support", "hello")
    with pytest.raises(NotFoundError, match="held in text"):
        _ = typed.audio


def test_the_clouds_recording_is_mp3(recording: Any, cloud: Workspace) -> None:
    mp3 = b"ID3\x03" + bytes(100)
    kept = convai_lab.Conversation(id="conv_1", agent_id="agent_1", platform="elevenlabs", has_audio=True)
    audio = ConversationAudio(mp3, "audio/mpeg", kept)
    assert audio.secs is None
    assert 'src="data:audio/mpeg;base64,SUQz' in audio._repr_html_()
    with pytest.raises(NotSupportedError, match="MP3"):
        audio.turn(0)
