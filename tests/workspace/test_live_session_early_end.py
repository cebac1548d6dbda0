"""A live session that is ended while it is still being connected: what was said is recorded, or said to be unsent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.testing.stub_platform import StubPlatform, stub_platform
from convai_lab.workspace import live_core
from convai_lab.workspace.live_session import LiveSession

HELLO = "Hello there."
UNSENT = "you ended the session before it was connected; what you said was not sent"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubPlatform]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVAI_LAB_HOME", str(tmp_path_factory.mktemp("home")))
        with stub_platform(hurry=4) as running:
            yield running


@pytest.fixture
def new_session(platform: StubPlatform) -> Callable[[], LiveSession]:
    made = platform.workspace.agents.save(Agent(name="support", first_message=HELLO)).agent
    return lambda: platform.workspace.start_session(made, voice=True)


@pytest.mark.parametrize("said", [("where is my order",), ("where is my order", "and my parcel")])
def test_what_was_said_before_it_stood_is_recorded(
    new_session: Callable[[], LiveSession], said: tuple[str, ...]
) -> None:
    session = new_session()
    session.context("The user is called Ada.")
    for text in said:
        session.say(text)
    session.end()
    record = session.wait(10)
    assert [turn.text for turn in record if turn.role == "user"] == list(said)
    assert (session.end_reason, record.status) == ("you ended the session", "done")


def test_a_session_that_is_ended_before_it_stands_never_begins(new_session: Callable[[], LiveSession]) -> None:
    session = new_session()
    session.end()
    assert session.wait(10).turns == ()
    assert (session.state, session.end_reason) == ("ended", "you ended the session")


def test_where_nothing_was_said_nobody_waits_for_the_connection(
    new_session: Callable[[], LiveSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = hanging(new_session, monkeypatch)
    session.context("The user is called Ada.")
    session.end()
    assert session.wait(10).turns == ()
    assert session.end_reason == "you ended the session"


def test_what_cannot_be_handed_over_is_said_to_be_unsent(
    new_session: Callable[[], LiveSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_core, "LAST_WORDS_SECS", 0.01)
    session = hanging(new_session, monkeypatch)
    session.say("where is my order")
    session.end()
    assert session.wait(10).turns == ()
    assert session.end_reason == UNSENT


def hanging(new_session: Callable[[], LiveSession], monkeypatch: pytest.MonkeyPatch) -> LiveSession:
    """Return a session on a platform that never answers."""

    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("convai_lab.workspace.live_line.LiveLine.open", never)
    return new_session()
