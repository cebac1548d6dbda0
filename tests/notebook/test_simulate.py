"""%simulate: one conversation with a simulated user, in a real IPython shell; and `simulate()` in plain Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.conversations.conversation import Conversation
from convai_lab.experiments.simulating import asimulate, simulate, simulation
from convai_lab.simulation.scenario import load_scenarios
from convai_lab.testing.fake_vendors import fake_openai
from convai_lab.testing.vendor_script import NoSuchModel

SUPPORT = Path(__file__).parents[2] / "datasets" / "scenarios" / "support.yaml"
DESK = "%%agent desk --llm offline\nYou are Sam. We are open from nine to five."


@pytest.fixture
def desk(notebook: Any) -> str:
    if not notebook.shell.user_ns["ws"].agents.find("desk"):
        notebook.must(DESK)
    return "desk"


def test_one_conversation_is_held_shown_and_kept_apart_from_those_of_people(notebook: Any, desk: str) -> None:
    found = notebook.must("said = %simulate desk When are you open?\nsaid")
    assert isinstance(found, Conversation)
    assert (found.source, found.turns[0].text) == ("simulated", "When are you open?")
    assert "nine to five" in found.text
    shown = notebook.stdout + notebook.html
    assert shown.count("nine to five") == 1, "the reply must be shown once"
    assert "not graded" in shown
    assert found.id not in set(notebook.must("%transcripts --conversations")["id"])
    assert found.id in set(notebook.must("%transcripts --conversations --all")["id"])
    assert notebook.must(f"%transcripts --id {found.id}").turns == found.turns


@pytest.mark.parametrize("mode", ["text", "voice"])
def test_a_conversation_in_virtual_time_shows_no_date(notebook: Any, desk: str, mode: str) -> None:
    found = notebook.must(f"%simulate desk --mode {mode} Are you open at Christmas?")
    shown = notebook.stdout + notebook.html + str(notebook.must("ws.conversations.list(source='simulated')"))
    assert not any(date in shown for date in ("2026-01-01", "1970-01-01", "start not known"))
    assert {found.started_at, *(turn.started_at for turn in found)} == {None}


def test_a_scenario_of_a_file_is_graded_by_its_checks(notebook: Any, desk: str) -> None:
    found = notebook.must(
        f"%simulate desk --scenario order_on_its_way --scenarios {SUPPORT} --persona hurried --user offline --save one"
    )
    assert notebook.shell.user_ns["one"] is found
    assert found.turns[0].text.endswith("Where is my order 1234?")
    assert found.turns[0].text.startswith("Quickly"), "the persona speaks"
    assert "no success" in notebook.html
    assert "✗ broken" in notebook.html


def test_two_scenarios_leave_two_conversations_and_the_same_one_leaves_one(notebook: Any, desk: str) -> None:
    first, again = (notebook.must("%simulate desk Are you open on Sundays?") for _ in range(2))
    other = notebook.must("%simulate desk Do you have parking?")
    assert first == again
    assert first.id != other.id
    stored = list(notebook.must("%transcripts --conversations --all")["id"])
    assert (stored.count(first.id), stored.count(other.id)) == (1, 1)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%simulate", "needs AGENT"),
        ("%simulate desk", "what does the caller want?"),
        ("%simulate nobody_here Hello", "nobody_here"),
        ("%simulate desk --scenario x", "needs --scenarios FILE"),
        ("%simulate desk --scenarios {S}", "needs --scenario ID"),
        ("%simulate desk --scenario order_on_way --scenarios {S}", "did you mean order_on_its_way"),
        ("%simulate desk --scenario x --scenarios nowhere.yaml", "there is no such file"),
        ("%simulate desk Hello --scenario x --scenarios {S}", "not both"),
        ("%simulate desk Hello --persona hurid", "did you mean hurried"),
        ("%simulate desk Hello --llm gpt-4o-mini", "OPENAI_API_KEY"),
        ("%simulate desk Hello --user gpt-4o-mini", "OPENAI_API_KEY"),
        ("%simulate desk Hello --llm gtp-4o", "gtp-4o"),
        ("%simulate desk Hello --mode song", "must be text or voice"),
        ("%simulate desk Hello --seed x", "--seed"),
    ],
)
def test_a_wrong_cell_is_one_sentence(notebook: Any, desk: str, cell: str, said: str) -> None:
    line = notebook.fails(cell.format(S=SUPPORT))
    assert said in line
    assert len(line) < 600


def test_the_same_seed_gives_the_same_conversation() -> None:
    support = load_scenarios(SUPPORT)
    first, second = (simulate(support.agent, support["order_on_its_way"], seed=7) for _ in range(2))
    assert first == second
    assert simulate(support.agent, support["order_on_its_way"], seed=8).id != first.id


def test_it_is_held_as_a_call_when_that_is_asked_for() -> None:
    found = simulate(Agent(name="Pat", prompt="We open at nine.", llm="offline"), "When do you open?", mode="voice")
    assert found.channel == "voice"
    assert "nine" in found.turns[1].text
    assert found.turns[1].metrics.voice_to_voice_ms is not None


async def test_a_real_model_speaks_by_voice_with_the_times_that_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_openai(lambda received: "At nine.") as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        agent = Agent(name="Pat", prompt="We open at nine.", llm="gpt-4o-mini")
        found = await asimulate(agent, "When do you open?", mode="voice", user="scripted")
    assert [turn.text for turn in found] == ["When do you open?", "At nine."]
    assert found.turns[1].metrics.llm_ttft_ms > 0


def test_who_failed_is_told_apart_from_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_openai(lambda received: NoSuchModel()) as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        done = simulation(Agent(name="Pat", llm="gpt-4o-mini"), "When do you open?", user="scripted")
    assert (done.ended_by, done.success) == ("provider_fault", None)
    assert [(fault.party, fault.reason) for fault in done.faults] == [("provider", "model_not_found")]
    assert done.conversation.turns[0].text == "When do you open?"


def test_an_interrupt_carries_the_conversation_as_far_as_it_got() -> None:
    class Interrupted:
        name = "interrupted"

        async def next_move(self, conversation: Conversation, scenario: Any) -> Any:
            import asyncio
            import os
            import signal

            from convai_lab.simulation.simulated_user import Move

            if len(conversation) < 2:
                return Move(text=scenario.opening)
            os.kill(os.getpid(), signal.SIGINT)
            return await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt) as stopped:
        simulation(Agent(name="Pat", prompt="We open at nine.", llm="offline"), "When do you open?", user=Interrupted())
    assert [turn.role for turn in stopped.value.conversation] == ["user", "agent"]  # type: ignore[attr-defined]
