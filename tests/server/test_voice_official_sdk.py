"""The vendor's own Python package talks by voice to the local platform: what it plays is understood."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from elevenlabs import ElevenLabs
from elevenlabs.conversational_ai.conversation import AudioInterface, Conversation

from convai_lab.clock import VirtualClock
from convai_lab.providers.stub_speech import StubASR, StubTTS
from convai_lab.testing.stub_platform import HurriedClock

HURRY = 3
WAIT_SECS = 30
CHUNK = 4000 * 2
"""What the package's own interface reads at once: 250 ms."""
QUIET = {"turn_timeout": -1}
"""The agent says nothing by itself, however long a thread halts."""
LONG = "This goes on and on because there is so much to say about every single thing you could ask about."


class FileInterface(AudioInterface):
    """A microphone that plays what it is told to, and a loudspeaker that keeps what it gets."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.interrupted = 0
        self._silent_at = 0.0
        self._got = threading.Condition()
        self._to_say = bytearray()
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def say(self, text: str) -> None:
        with self._lock:
            self._to_say += StubTTS(rate_hz=16000).render(text)[0]

    def start(self, input_callback: Callable[[bytes], None]) -> None:
        def speak() -> None:
            due = time.perf_counter()
            while not self._over.wait(max(0.0, due - time.perf_counter())):
                with self._lock:
                    chunk = bytes(self._to_say).ljust(CHUNK, b"\0")
                    self._to_say.clear()
                input_callback(chunk)  # what is said in one piece: this thread may halt in the middle of a sentence
                due += len(chunk) / 32000 / HURRY

        self._thread = threading.Thread(target=speak)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(WAIT_SECS)

    def output(self, audio: bytes) -> None:
        with self._got:
            self.heard.append(audio)
            self._silent_at = max(self._silent_at, time.perf_counter()) + len(audio) / 32000 / HURRY
            self._got.notify_all()

    def wait_for(self, is_true: Callable[[bytes], bool]) -> None:
        with self._got:
            assert self._got.wait_for(lambda: is_true(b"".join(self.heard)), WAIT_SECS)

    def play_to_the_end(self) -> None:
        """Wait as long as a loudspeaker plays what came: speech is sent ahead of the ear that hears it."""
        self._over.wait(max(0.0, self._silent_at - time.perf_counter()))

    def interrupt(self) -> None:
        self.interrupted += 1
        self._silent_at = 0.0


def understood(pcm: bytes) -> str:
    stream = StubASR().open(rate_hz=16000)
    stream.feed(pcm + bytes(16000))

    async def finish() -> str:
        return (await stream.finish()).text

    return VirtualClock().run(finish())


class Call:
    """An official voice conversation, with what its callbacks heard."""

    def __init__(self, served: Any, **agent: Any) -> None:
        self.client = ElevenLabs(base_url=served.url, api_key=served.key)
        self.sound = FileInterface()
        self.said: list[str] = []
        self.transcripts: list[str] = []
        self.corrections: list[tuple[str, str]] = []
        self._news = threading.Condition()
        made = self.client.conversational_ai.agents.create(conversation_config={"agent": agent, "turn": QUIET})
        self.session = Conversation(
            self.client,
            made.agent_id,
            requires_auth=False,
            audio_interface=self.sound,
            callback_agent_response=self._keep(self.said),
            callback_user_transcript=self._keep(self.transcripts),
            callback_agent_response_correction=lambda before, after: self._keep(self.corrections)((before, after)),
        )

    def _keep(self, where: list[Any]) -> Callable[[Any], None]:
        def keep(what: Any) -> None:
            with self._news:
                where.append(what)
                self._news.notify_all()

        return keep

    def wait(self, is_true: Callable[[], bool]) -> None:
        with self._news:
            assert self._news.wait_for(is_true, WAIT_SECS), (self.said, self.transcripts, self.corrections)

    def hang_up(self) -> Any:
        self.session.end_session()
        conversation_id = self.session.wait_for_session_end()
        assert conversation_id
        return self.client.conversational_ai.conversations.get(conversation_id=conversation_id)


def test_it_hears_the_agent_and_is_understood(served: Callable[..., Any]) -> None:
    call = Call(served(["It ships tomorrow."], clock=HurriedClock(HURRY)))
    call.session.start_session()
    call.sound.say("where is my order")
    call.wait(lambda: len(call.said) == 1)
    call.sound.wait_for(lambda heard: understood(heard).endswith("tomorrow."))
    call.sound.play_to_the_end()
    record = call.hang_up()
    assert call.transcripts == ["where is my order"]
    assert understood(b"".join(call.sound.heard)).endswith("It ships tomorrow.")
    assert [turn.message for turn in record.transcript] == ["where is my order", "It ships tomorrow."]
    assert (record.has_audio, record.metadata.text_only) == (True, False)
    sound = b"".join(call.client.conversational_ai.conversations.audio.get(conversation_id=record.conversation_id))
    assert sound[:4] == b"RIFF"


def test_talking_over_the_agent_interrupts_its_loudspeaker(served: Callable[..., Any]) -> None:
    call = Call(served([LONG, "Sorry."], clock=HurriedClock(HURRY)))
    call.session.start_session()
    call.sound.say("tell me everything")
    call.sound.wait_for(bool)
    call.wait(lambda: len(call.said) == 1)
    call.sound.say("stop please that is quite enough now")
    call.wait(lambda: "Sorry." in call.said)
    record = call.hang_up()
    assert call.sound.interrupted >= 1
    [(before, after)] = call.corrections
    assert before == LONG
    assert LONG.startswith(after)
    assert record.transcript[1].interrupted
