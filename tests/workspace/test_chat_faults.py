"""Everything that can go wrong on the socket of a conversation."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.errors import (
    AuthenticationError,
    ConversationClosedError,
    MissingVariableError,
    PlatformError,
)
from convai_lab.workspace.chat import partial_conversation
from convai_lab.workspace.session import AgentTurn, Ended
from convai_lab.workspace.workspace import Workspace

SECRET = "key-of-the-recording-platform-0123456789"


@pytest.fixture
def agent(ws: Workspace) -> Any:
    return ws.agents.create(name="Support", prompt="You are Sam.")


def scripted(recording: Any, *steps: Any) -> None:
    """Answer the first message with these steps: coroutine functions of the talk."""

    async def script(talk: Any) -> None:
        await talk.metadata()
        await talk.message()
        for step in steps:
            await step(talk)
        await talk.frame("nothing more")

    recording.script = script


def test_an_error_event_becomes_its_class_and_carries_the_conversation(
    agent: Any, ws: Workspace, recording: Any
) -> None:
    async def fail(talk: Any) -> None:
        await talk.error("missing_dynamic_variable", "the prompt uses {{name}}, which has no value", names=["name"])

    scripted(recording, fail)
    with pytest.raises(MissingVariableError) as raised:
        ws.chat(agent, "one")
    assert raised.value.names == ("name",)
    assert raised.value.conversation_id == recording.talks[0].conversation_id  # type: ignore[attr-defined]
    partial = partial_conversation(raised.value)
    assert partial is not None
    assert [turn.text for turn in partial] == ["one"]


def test_a_platform_that_dies_in_the_middle_of_a_reply_is_an_error_with_what_was_said(
    agent: Any, ws: Workspace, recording: Any
) -> None:
    async def die(talk: Any) -> None:
        await talk.part("start")
        await talk.part("delta", "I was about to")
        await talk.socket.close(1011, "crashed")

    scripted(recording, die)
    events: list[Any] = []
    with pytest.raises(ConversationClosedError, match=r"before the reply was complete \(1011\): crashed"):
        ws.chat(agent, "one", on_event=events.append)
    assert AgentTurn("I was about to") in events
    assert isinstance(events[-1], Ended)


def test_an_agent_that_ends_the_call_leaves_the_rest_unsaid_with_an_error(
    agent: Any, ws: Workspace, recording: Any
) -> None:
    async def hang_up(talk: Any) -> None:
        await talk.reply("Goodbye.")
        await talk.socket.close(1000)

    scripted(recording, hang_up)
    assert ws.chat(agent, "bye").turns[-1].text == "Goodbye."
    with pytest.raises(ConversationClosedError, match="the agent ended the conversation") as raised:
        ws.chat(agent, ["bye", "wait", "hello?"])
    assert partial_conversation(raised.value) is not None


@pytest.mark.parametrize("frame", ["nope", "[]", "null", '"x"', "5"])
def test_a_malformed_frame_is_an_error_in_words(frame: str, agent: Any, ws: Workspace, recording: Any) -> None:
    async def garble(talk: Any) -> None:
        await talk.socket.send_text(frame)

    scripted(recording, garble)
    with pytest.raises(ConversationClosedError, match="not a JSON object"):
        ws.chat(agent, "one")


def test_unknown_frames_are_passed_over(agent: Any, ws: Workspace, recording: Any) -> None:
    async def chatter(talk: Any) -> None:
        await talk.send("vad_score", vad_score_event={"vad_score": 0.5})
        await talk.send("from_the_future", x=[1, 2])
        await talk.socket.send_text("{}")
        await talk.reply("Hello")
        await talk.response("Hello")

    scripted(recording, chatter)
    assert ws.chat(agent, "one").turns[-1].text == "Hello"


def test_a_frame_larger_than_allowed_ends_the_conversation_in_words(agent: Any, ws: Workspace, recording: Any) -> None:
    async def flood(talk: Any) -> None:
        await talk.response("x" * (17 * 1024 * 1024))

    scripted(recording, flood)
    with pytest.raises(ConversationClosedError):
        ws.chat(agent, "one")


def test_a_refused_socket_is_a_typed_error_without_the_key(agent: Any, ws: Workspace, recording: Any) -> None:
    from starlette.responses import JSONResponse

    async def refuse(websocket: Any) -> None:
        refusal = JSONResponse({"detail": {"status": "x", "message": f"not with {SECRET}"}}, 401)
        await websocket.send_denial_response(refusal)

    held, recording.hold = recording.hold, refuse
    recording.signed_url = recording.url.replace("http", "ws") + "/refused"
    try:
        with pytest.raises((AuthenticationError, PlatformError)) as raised:
            ws.chat(agent, "one")
    finally:
        recording.hold = held
    assert SECRET not in f"{raised.value!s}{raised.value.body!r}"


def test_a_socket_that_cannot_be_reached_is_an_error_in_words(agent: Any, ws: Workspace, recording: Any) -> None:
    recording.signed_url = "ws://127.0.0.1:1/v1/convai/conversation"
    with pytest.raises(PlatformError, match="could not be reached for a conversation"):
        ws.chat(agent, "one")
