"""Hold a conversation message by message."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import (
    ConversationClosedError,
    InvalidValueError,
)
from convai_lab.workspace.session import Ended
from convai_lab.workspace.workspace import Workspace

SECRET = "key-of-the-recording-platform-0123456789"


@pytest.fixture
def agent(ws: Workspace) -> Any:
    return ws.agents.create(name="Support", prompt="You are Sam.")


def test_a_session_is_held_message_by_message(agent: Any, ws: Workspace, recording: Any) -> None:
    events: list[Any] = []
    with ws.start_session(agent, on_event=events.append) as session:
        assert session.is_open
        assert session.say("one") == "You said: one"
        session.context("the user is in a hurry")
        assert session.say("two") == "You said: two"
        assert session.conversation.status == "in-progress"
        assert "open" in repr(session)
    assert not session.is_open
    assert session.conversation.status == "done"
    assert session.end() == session.conversation
    assert {"type": "contextual_update", "text": "the user is in a hurry"} in recording.talks[0].frames
    assert isinstance(events[-1], Ended)
    with pytest.raises(ConversationClosedError, match="it was ended here before this was said"):
        session.say("three")


@pytest.mark.parametrize("text", ["", "  ", None, 5, ["a", "b"]])
def test_a_session_refuses_what_cannot_be_said(text: Any, agent: Any, ws: Workspace) -> None:
    with ws.start_session(agent) as session, pytest.raises((InvalidValueError, ValueError)):
        session.say(text)


def test_a_session_has_twins_for_any_event_loop(agent: Any, ws: Workspace) -> None:
    async def journey() -> Conversation:
        async with await ws.astart_session(agent) as session:
            assert await session.asay("one") == "You said: one"
            await session.acontext("hurry")
            return await session.aend()

    assert len(asyncio.run(journey())) == 2


def test_an_error_in_a_session_closes_it(agent: Any, ws: Workspace) -> None:
    with pytest.raises(ZeroDivisionError), ws.start_session(agent) as session:
        raise ZeroDivisionError
    assert not session.is_open
