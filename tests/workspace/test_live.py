"""A conversation on a socket in memory, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import ClientTool
from convai_lab.clock import VirtualClock
from convai_lab.errors import (
    ConversationClosedError,
    MissingKeyError,
    MissingVariableError,
    ModelNotFoundError,
    ToolNotAvailableError,
)
from convai_lab.workspace.events import AgentText, AgentTurn, Ended, SessionEvent, Started, ToolAnswered, ToolCalled
from convai_lab.workspace.live import LiveConversation
from convai_lab.workspace.socket import Closed, SocketClosed, read_frame
from convai_lab.workspace.tools import BoundTools, ToolDesk

Frame = dict[str, Any]


class MemorySocket:
    """A socket whose other side is a coroutine: `answer` gets each frame that is sent."""

    def __init__(self, answer: Callable[[MemorySocket, Frame], Coroutine[Any, Any, None]]) -> None:
        self.sent: list[Frame] = []
        self.arriving: asyncio.Queue[Frame | Closed | Exception] = asyncio.Queue()
        self.closed: Closed | None = None
        self._answer = answer

    async def send(self, frame: Mapping[str, Any]) -> None:
        if self.closed is not None:
            raise SocketClosed(self.closed)
        self.sent.append(dict(frame))
        await self._answer(self, dict(frame))

    async def receive(self) -> Frame:
        item = await self.arriving.get()
        if isinstance(item, Closed):
            self.closed = item
            raise SocketClosed(item)
        if isinstance(item, Exception):
            raise item
        return item

    async def close(self) -> None:
        self.closed = self.closed or Closed(1000, "")

    def tell(self, *items: Frame | Closed | Exception) -> None:
        for item in items:
            self.arriving.put_nowait(item)


class Watcher:
    """A caller that writes down what it is told, and runs tools at once."""

    def __init__(self) -> None:
        self.events: list[SessionEvent] = []

    async def tell(self, event: SessionEvent) -> None:
        self.events.append(event)

    async def work(self, function: Callable[[], Any]) -> Any:
        return function()


METADATA = {
    "type": "conversation_initiation_metadata",
    "conversation_initiation_metadata_event": {"conversation_id": "conv_1"},
}


def response(text: str, event_id: int) -> Frame:
    return {"type": "agent_response", "agent_response_event": {"agent_response": text, "event_id": event_id}}


def error(error_type: str, message: str, **details: Any) -> Frame:
    event = {"code": 1008, "error_type": error_type, "message": message, "details": details}
    return {"type": "error", "error_event": event}


async def echo(socket: MemorySocket, frame: Frame) -> None:
    if frame["type"] == "conversation_initiation_client_data":
        socket.tell(METADATA)
    elif frame["type"] == "user_message":
        socket.tell(response(f"You said: {frame['text']}", len(socket.sent)))


def answering(*items: Frame | Closed | Exception) -> Callable[[MemorySocket, Frame], Coroutine[Any, Any, None]]:
    """Answer the first message with `items`."""

    async def answer(socket: MemorySocket, frame: Frame) -> None:
        if frame["type"] == "conversation_initiation_client_data":
            socket.tell(METADATA)
        elif frame["type"] == "user_message":
            socket.tell(*items)

    return answer


class Scene:
    """A conversation with everything around it."""

    def __init__(self, answer: Any = echo, *, agent: Agent | None = None, grace_secs: float = 0.0) -> None:
        self.clock = VirtualClock()
        self.socket = MemorySocket(answer)
        self.watcher = Watcher()
        self.live = LiveConversation(
            self.socket,
            desk=ToolDesk(agent or Agent(id="agent_1"), BoundTools()),
            caller=self.watcher,
            clock=self.clock,
            grace_secs=grace_secs,
        )

    def play(self, *messages: str, has_first_message: bool = False) -> list[str]:
        """Open, say the messages, close; return the replies."""

        async def play() -> list[str]:
            try:
                await self.live.open(
                    {"type": "conversation_initiation_client_data"}, has_first_message=has_first_message
                )
                said = [await self.live.say(message) for message in messages]
                await self.live.close()
                return said
            finally:
                await self.live.abandon()

        return self.clock.run(play())


def test_each_message_gets_its_reply() -> None:
    scene = Scene()
    assert scene.play("one", "two") == ["You said: one", "You said: two"]
    assert scene.live.conversation_id == "conv_1"
    assert scene.watcher.events[0] == Started("conv_1")
    assert scene.watcher.events[-1] == Ended("user")
    assert scene.clock.now() == 0


def test_elsewhere_the_pause_after_a_reply_passes_before_the_next_message() -> None:
    scene = Scene(grace_secs=0.8)
    scene.play("one", "two")
    assert scene.clock.now() == pytest.approx(1.6)


def test_a_tool_call_within_the_pause_belongs_to_the_reply() -> None:
    tool = ClientTool(name="look", function=lambda: "42")
    call = {"type": "client_tool_call", "client_tool_call": {"tool_name": "look", "tool_call_id": "c1"}}

    async def answer(socket: MemorySocket, frame: Frame) -> None:
        if frame["type"] == "user_message":
            socket.tell(response("Let me look.", 1), call)
        elif frame["type"] == "client_tool_result":
            socket.tell(response(f"It is {frame['result']}.", 1))
        else:
            await echo(socket, frame)

    agent = Agent(id="agent_1", tools=(tool,))
    scene = Scene(answer, agent=agent, grace_secs=0.8)
    scene.live._desk._bound.remember("agent_1", agent)
    assert scene.play("What is it?") == ["Let me look. It is 42."]
    assert [e for e in scene.watcher.events if isinstance(e, ToolCalled | ToolAnswered)] == [
        ToolCalled("look", {}),
        ToolAnswered("look", "42", False),
    ]


def test_a_missing_tool_is_an_error_for_the_model_and_then_for_the_caller() -> None:
    call = {"type": "client_tool_call", "client_tool_call": {"tool_name": "gone", "tool_call_id": "c1"}}

    async def answer(socket: MemorySocket, frame: Frame) -> None:
        if frame["type"] == "user_message":
            socket.tell(call)
        elif frame["type"] == "client_tool_result":
            assert frame["is_error"] is True
            socket.tell(response("I could not look.", 1))
        else:
            await echo(socket, frame)

    scene = Scene(answer, agent=Agent(id="agent_1", tools=(ClientTool(name="gone"),)))
    with pytest.raises(ToolNotAvailableError, match=r"tool gone: .*run the cell") as raised:
        scene.play("Look")
    assert raised.value.tool == "gone"
    assert AgentTurn("I could not look.") in scene.watcher.events


def test_a_tool_that_the_agent_does_not_have_is_never_run() -> None:
    call = {"type": "client_tool_call", "client_tool_call": {"tool_name": "rm", "tool_call_id": "c1"}}

    async def answer(socket: MemorySocket, frame: Frame) -> None:
        if frame["type"] == "user_message":
            socket.tell(call)
        elif frame["type"] == "client_tool_result":
            socket.tell(response(f"{frame['result']}", 1))
        else:
            await echo(socket, frame)

    scene = Scene(answer)
    assert scene.play("Look") == ["rm is not a tool of this agent"]


def test_a_ping_is_answered_at_once() -> None:
    scene = Scene(answering({"type": "ping", "ping_event": {"event_id": 7}}, response("Hi", 1)))
    scene.play("one")
    assert {"type": "pong", "event_id": 7} in scene.socket.sent


def test_the_first_message_is_heard_out_before_the_user_speaks() -> None:
    async def answer(socket: MemorySocket, frame: Frame) -> None:
        await echo(socket, frame)
        if frame["type"] == "conversation_initiation_client_data":
            socket.tell(response("Welcome", 0))

    scene = Scene(answer)
    assert scene.play("one", has_first_message=True) == ["You said: one"]
    turns = [event.text for event in scene.watcher.events if isinstance(event, AgentTurn)]
    assert turns == ["Welcome", "You said: one"]


def test_a_first_message_that_never_comes_does_not_stop_the_conversation() -> None:
    scene = Scene()
    assert scene.play("one", has_first_message=True) == ["You said: one"]
    assert scene.clock.now() == 10


def test_a_platform_that_never_starts_is_an_error_in_words() -> None:
    async def silent(socket: MemorySocket, frame: Frame) -> None:
        pass

    with pytest.raises(ConversationClosedError, match="did not start the conversation within 20 s"):
        Scene(silent).play()


def test_a_platform_that_never_replies_is_an_error_in_words() -> None:
    with pytest.raises(ConversationClosedError, match="did not finish its reply within 90 s"):
        Scene(answering()).play("one")


def test_a_reply_of_parts_alone_is_taken_after_a_pause() -> None:
    def part(kind: str, text: str = "") -> Frame:
        return {"type": "agent_chat_response_part", "text_response_part": {"type": kind, "text": text}}

    scene = Scene(answering(part("start"), part("delta", "Hel"), part("delta", "lo"), part("stop")))
    assert scene.play("one") == ["Hello"]
    assert AgentText("Hel") in scene.watcher.events
    assert scene.clock.now() == 2


def test_a_normal_close_completes_the_reply() -> None:
    scene = Scene(answering(response("Goodbye.", 1), Closed(1000, "")))
    assert scene.play("bye") == ["Goodbye."]
    assert Ended("user") not in scene.watcher.events


def test_saying_more_after_the_agent_ended_it_is_an_error() -> None:
    scene = Scene(answering(response("Goodbye.", 1), Closed(1000, "")))
    with pytest.raises(ConversationClosedError, match="the agent ended the conversation"):
        scene.play("bye", "wait")


@pytest.mark.parametrize(
    ("closed", "words"),
    [
        (Closed(1006, "the connection was lost"), "the connection was lost before the reply was complete"),
        (Closed(1011, "boom"), r"closed the conversation before the reply was complete \(1011\): boom"),
        (Closed(1002, ""), r"\(1002\)"),
    ],
)
def test_a_close_in_the_middle_of_a_reply_says_how(closed: Closed, words: str) -> None:
    with pytest.raises(ConversationClosedError, match=words) as raised:
        Scene(answering(closed)).play("one")
    assert raised.value.code == closed.code


def test_a_missing_key_names_the_variable() -> None:
    frame = error("missing_key", "gpt-4o needs OPENAI_API_KEY, which is not set: ...", variable="OPENAI_API_KEY")
    with pytest.raises(MissingKeyError, match=r"^gpt-4o needs OPENAI_API_KEY, which is not set") as raised:
        Scene(answering(frame, Closed(1002, "..."))).play("one")
    assert raised.value.variable == "OPENAI_API_KEY"


def test_a_missing_key_of_a_voice_says_how_to_go_on_without() -> None:
    frame = error(
        "missing_key", "tts needs K: set it in the environment or the keyring, or use the other to go on", variable="K"
    )
    with pytest.raises(MissingKeyError, match="the keyring, or use the other to go on without"):
        Scene(answering(frame, Closed(1002, "..."))).play("one")


def test_missing_variables_are_named_before_the_conversation_even_starts() -> None:
    async def answer(socket: MemorySocket, frame: Frame) -> None:
        socket.tell(error("missing_dynamic_variable", "the first message uses {{name}}", names=["name"]))
        socket.tell(Closed(1008, "x"))

    with pytest.raises(MissingVariableError, match=r"the first message uses \{\{name\}\}") as raised:
        Scene(answer).play("one")
    assert raised.value.names == ("name",)


def test_why_it_closed_is_read_although_a_ping_before_it_cannot_be_answered_any_more() -> None:
    async def answer(socket: MemorySocket, frame: Frame) -> None:
        failed = error("missing_dynamic_variable", "the first message uses {{name}}", names=["name"])
        socket.tell({"type": "ping", "ping_event": {"event_id": 1}}, failed, Closed(1008, "x"))
        socket.closed = Closed(1008, "x")

    with pytest.raises(MissingVariableError):
        Scene(answer).play("one")


def test_an_unknown_model_comes_with_suggestions() -> None:
    message = "openai: no model gpt-5o (did you mean gpt-4o?)"
    frame = error("model_not_found", message, provider="openai", model="gpt-5o", suggestions=["gpt-4o"])
    with pytest.raises(ModelNotFoundError) as raised:
        Scene(answering(frame, Closed(1002, ""))).play("one")
    assert str(raised.value) == message
    assert raised.value.suggestions == ("gpt-4o",)


def test_an_error_event_without_a_close_ends_the_wait_soon() -> None:
    scene = Scene(answering(error("provider_error", "openai: no answer")))
    with pytest.raises(ConversationClosedError, match="openai: no answer"):
        scene.play("one")
    assert scene.clock.now() == 2


def test_an_error_event_that_does_no_harm_is_passed_over() -> None:
    scene = Scene(answering(error("not_supported", "no files"), response("Hi", 1)))
    assert scene.play("one") == ["Hi"]


@pytest.mark.parametrize("details", [None, [], {"variable": 5}, {"names": "x"}, {"suggestions": {}}])
@pytest.mark.parametrize("kind", ["missing_key", "missing_dynamic_variable", "model_not_found", None, 7])
def test_malformed_error_events_still_end_in_words(kind: Any, details: Any) -> None:
    frame = {"type": "error", "error_event": {"error_type": kind, "message": None, "details": details}}
    with pytest.raises((ConversationClosedError, ModelNotFoundError)):
        Scene(answering(frame, Closed(1008, ""))).play("one")


def test_a_result_that_comes_after_the_close_harms_nobody() -> None:
    call = {"type": "client_tool_call", "client_tool_call": {"tool_name": "slow", "tool_call_id": "c1"}}
    tool = ClientTool(name="slow", function=lambda: "late")
    agent = Agent(id="agent_1", tools=(tool,))
    scene = Scene(answering(call, Closed(1000, "")), agent=agent)
    scene.live._desk._bound.remember("agent_1", agent)

    async def slowly(function: Callable[[], Any]) -> Any:
        await scene.clock.sleep(1)
        return function()

    scene.watcher.work = slowly  # type: ignore[method-assign]
    assert scene.play("one") == [""]


@pytest.mark.parametrize("call", [None, 5, {}, {"tool_name": 7}])
def test_a_tool_call_without_a_name_ends_the_conversation_in_words(call: Any) -> None:
    frame = {"type": "client_tool_call", "client_tool_call": call}
    with pytest.raises(ConversationClosedError, match="a tool call without a tool's name"):
        Scene(answering(frame)).play("one")


def test_a_callback_may_take_as_long_as_it_likes() -> None:
    scene = Scene(answering(response("Hi", 1)))

    async def slowly(event: SessionEvent) -> None:
        await scene.clock.sleep(1_000)

    scene.watcher.tell = slowly  # type: ignore[method-assign]
    assert scene.play("one") == ["Hi"]
    assert scene.clock.now() > 1_000


def test_a_close_while_a_callback_runs_is_not_mistaken_for_a_complete_reply() -> None:
    part = {"type": "agent_chat_response_part", "text_response_part": {"type": "delta", "text": "I was"}}
    scene = Scene(answering(part, Closed(1011, "crashed")))

    async def slowly(event: SessionEvent) -> None:
        await scene.clock.sleep(10)

    scene.watcher.tell = slowly  # type: ignore[method-assign]
    with pytest.raises(ConversationClosedError, match="1011"):
        scene.play("one")


def test_an_error_in_a_callback_ends_the_chat_with_that_error() -> None:
    scene = Scene()

    async def tell(event: SessionEvent) -> None:
        if isinstance(event, AgentTurn):
            raise ZeroDivisionError("in the callback")

    scene.watcher.tell = tell  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError, match="in the callback"):
        scene.play("one")


@pytest.mark.parametrize("message", ["", "nope", "[1]", "null", '"x"', b"\x00\xff", "[" * 100_000])
def test_a_frame_that_is_no_json_object_is_an_error_in_words(message: str | bytes) -> None:
    with pytest.raises(ConversationClosedError, match="not a JSON object"):
        read_frame(message)


def test_a_malformed_frame_ends_the_reply_with_its_error() -> None:
    with pytest.raises(ConversationClosedError, match="not a JSON object"):
        Scene(answering(ConversationClosedError("a frame that is not a JSON object"))).play("one")
