"""When a turn is written: before anybody is told of it, and not before the model that it asks is asked."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.clock import VirtualClock
from convai_lab.dialogue.reply import ReplyText
from convai_lab.errors import StorageError
from convai_lab.testing.fake_llm import FakeLLM, Reply


class AskedLLM(FakeLLM):
    """A model that notes in a log when it is asked."""

    def __init__(self, log: list[str], *script: Any, clock: VirtualClock) -> None:
        super().__init__(script, clock=clock)
        self._log = log

    def stream(self, request: Any) -> Any:
        self._log.append("asked")
        return super().stream(request)


def asked(bench: Any, *script: Any) -> Any:
    """Make a loop whose model is in the same log as its recorder."""
    return bench.loop(llm=AskedLLM(bench.recorder.log, *script, clock=bench.clock))


def test_what_is_typed_is_written_while_the_model_thinks(bench: Any) -> None:
    loop = asked(bench, Reply("It ships tomorrow.", delay_secs=1))

    async def talk() -> None:
        loop.user_said("Where is it?", soon=True)
        async for _ in loop.reply():
            bench.recorder.log.append("told")
            break

    bench.run(talk())
    assert bench.recorder.log[:3] == ["asked", "add user", "told"]


def test_an_answer_that_comes_at_once_is_told_after_the_question_was_written(bench: Any) -> None:
    loop = asked(bench, "Tomorrow.")

    async def talk() -> None:
        loop.user_said("Where is it?", soon=True)
        async for event in loop.reply():
            if isinstance(event, ReplyText):
                assert [turn.text for turn in bench.recorder.turns] == ["Where is it?"]

    bench.run(talk())
    assert bench.recorder.turns == list(loop.conversation.turns)


def test_what_comes_next_is_written_after_it(bench: Any) -> None:
    loop = asked(bench)

    async def talk() -> None:
        loop.user_said("One", soon=True)
        loop.user_said("Two", soon=True)
        loop.user_said("Three")
        assert [turn.text for turn in bench.recorder.turns] == ["One", "Two", "Three"]
        loop.user_said("Four", soon=True)
        await loop.end("bye", by="user")

    bench.run(talk())
    assert [turn.text for turn in bench.recorder.turns] == ["One", "Two", "Three", "Four"]


def test_a_disk_that_is_full_for_a_moment_loses_nothing(bench: Any) -> None:
    keep, refusals = bench.recorder.add_turn, [StorageError("full")]

    def add_turn(*given: Any, **more: Any) -> None:
        if refusals:
            raise refusals.pop()
        keep(*given, **more)

    bench.recorder.add_turn = add_turn
    loop = asked(bench, Reply("It ships tomorrow.", delay_secs=1))

    async def talk() -> None:
        loop.user_said("Where is it?", soon=True)
        assert [event async for event in loop.reply()]

    bench.run(talk())
    assert [turn.text for turn in bench.recorder.turns] == ["Where is it?", "It ships tomorrow."]


def test_what_could_not_be_written_is_told_and_is_no_part_of_the_conversation(bench: Any) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StorageError("the disk is full")

    loop = asked(bench, Reply("It ships tomorrow.", delay_secs=1))
    keep, bench.recorder.add_turn = bench.recorder.add_turn, full

    async def talk() -> None:
        loop.user_said("Where is it?", soon=True)
        with pytest.raises(StorageError, match="full"):
            await anext(loop.reply())
        bench.recorder.add_turn = keep
        await loop.end("bye", by="user")

    bench.run(talk())
    assert list(loop.conversation.turns) == bench.recorder.turns == []
