"""The journal: what is done stays done, whoever is killed and whoever else writes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from convai_lab import settings
from convai_lab.conversations.conversation import Conversation, CriterionResult
from convai_lab.conversations.turn import Turn
from convai_lab.errors import InvalidValueError, StorageError
from convai_lab.evaluation.checks import CheckResult
from convai_lab.experiments.comparison import Comparison, compare
from convai_lab.experiments.journal import Journal, journal_path
from convai_lab.experiments.trial import TrialResult
from convai_lab.simulation.faults import Fault
from convai_lab.testing.fake_llm import Reply
from convai_lab.testing.fake_vendors import FakeVendor

from .conftest import SHIPPED, scenarios

CHILD = """
import sys
from convai_lab.agents.agent import Agent
from convai_lab.experiments.comparison import compare
from json import loads

class Told:
    def start(self, total, *, done, max_cost): pass
    def advance(self, count, *, cost_usd): print("done", flush=True)
    def close(self, text): pass

agent = Agent(name="Support", prompt="You are Sam.", llm="gpt-4o-mini")
compare(agent, loads(sys.argv[1]), simulated_user="scripted", progress=Told(), concurrency=4)
"""


def result(key: str = "k", **changes: Any) -> TrialResult:
    """Return a finished trial with a conversation."""
    conversation = Conversation(id=f"conv_{key}", agent_id="a", turns=(Turn(role="user", text="Hello"),))
    made = TrialResult(variant="a", scenario_id="s", trial=0, seed=1, key=key, success=True, conversation=conversation)
    return made.with_changes(**changes)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite3")


async def test_a_trial_comes_back_as_it_was(journal: Journal) -> None:
    whole = result(
        success=False,
        checks=(CheckResult(False, "said 'x'", "it did not", "said"),),
        criteria={"polite": CriterionResult(value="unknown", rationale="nobody knows")},
        faults=(Fault("agent", "bad_arguments", "order_id"),),
        ttft_ms=(1.5, 2.5),
        cost_usd=None,
        judge_cost_usd=0.25,
    )
    await journal.add(whole)
    await journal.close()
    found = Journal(journal.path).find(["k"])["k"]
    assert found == whole
    assert found.is_cached
    assert found.conversation is None
    assert journal.conversation("k") == whole.conversation


async def test_the_first_of_two_equal_trials_is_kept_by_both(journal: Journal) -> None:
    other = Journal(journal.path)
    first = await journal.add(result(turns=1))
    second = await other.add(result(turns=2, variant="b"))
    assert (first.turns, second.turns, second.variant, second.is_cached) == (1, 1, "b", True)


async def test_a_trial_that_others_broke_is_tried_again_and_replaced(journal: Journal) -> None:
    await journal.add(result(success=None, failed_party="provider"))
    assert journal.find(["k"]) == {}
    await journal.add(result())
    assert journal.find(["k"])["k"].success is True


async def test_who_counts_hears_what_is_kept_before_the_one_who_waits_goes_on(journal: Journal) -> None:
    heard: list[TrialResult] = []
    kept = await journal.begin_adding(result(), heard.append)
    assert heard == [kept]
    assert journal.find(["k"]) == {"k": kept}


async def test_what_goes_wrong_in_counting_is_raised_where_the_trial_is_waited_for(journal: Journal) -> None:
    def count(_: TrialResult) -> None:
        raise ValueError("cannot count")

    written, other = journal.begin_adding(result(), count), journal.begin_adding(result("k2"))
    with pytest.raises(ValueError, match="cannot count"):
        await written
    assert (await other).key == "k2"
    assert len(journal.find(["k", "k2"])) == 2


async def test_thousands_are_written_together(journal: Journal) -> None:
    kept = await asyncio.gather(*(journal.add(result(f"k{number}")) for number in range(2000)))
    assert len(kept) == 2000
    assert len(journal.find(f"k{number}" for number in range(2000))) == 2000


async def test_a_key_that_somebody_says_is_not_kept(journal: Journal) -> None:
    settings.remember_secret("hunter2-hunter2")
    said = result().conversation
    assert said is not None
    said = said.with_changes(turns=(Turn(role="user", text="My key is hunter2-hunter2"),))
    kept = await journal.add(result(conversation=said, checks=(CheckResult(True, "x", "hunter2-hunter2", "said"),)))
    await journal.close()
    assert "hunter2" not in repr(kept), "nor is it handed out to be shown in tables"
    assert journal.find(["k"])["k"] == kept
    assert b"hunter2" not in journal.path.read_bytes()
    assert "hunter2" not in str(journal.conversation("k"))


async def test_a_damaged_row_is_one_sentence(journal: Journal) -> None:
    await journal.add(result())
    await journal.close()
    with sqlite3.connect(journal.path) as connection:
        connection.execute("UPDATE trials SET result = '{'")
        connection.execute("UPDATE conversations SET body = x'00'")
    with pytest.raises(StorageError, match="cannot be read"):
        journal.find(["k"])
    with pytest.raises(StorageError, match="is damaged"):
        journal.conversation("k")


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(StorageError, match="not an SQLite file"):
        Journal(tmp_path / "notes.txt")


def test_a_name_is_a_file_in_the_data_folder_and_a_path_is_itself(tmp_path: Path) -> None:
    assert journal_path("mine") == settings.home() / "journals" / "mine.sqlite3"
    assert journal_path(None).name == "comparisons.sqlite3"
    assert journal_path(tmp_path / "x.sqlite3") == tmp_path / "x.sqlite3"


@pytest.mark.parametrize("wrong", ["", "no/such/folder/x", 7, "."])
def test_a_journal_that_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidValueError, match="journal"):
        journal_path(wrong)


def test_after_kill_nine_the_same_call_goes_on(vendor: FakeVendor, agent: Any) -> None:
    vendor.answer(lambda _: Reply(SHIPPED, delay_secs=0.03))
    cases = scenarios(60)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(cases)], stdout=subprocess.PIPE, env=dict(os.environ), text=True
    )
    assert child.stdout is not None
    done = 0
    for _ in child.stdout:
        done += 1
        if done == 20:
            os.kill(child.pid, signal.SIGKILL)
            break
    done += sum(1 for _ in child.stdout)
    child.wait()
    child.stdout.close()
    before = sum("ready?" not in str(r.body) for r in vendor.requests)
    found = compare(agent, cases, simulated_user="scripted", progress=False)
    assert isinstance(found, Comparison)
    assert len(found) == 60
    assert found.facts.cached >= done >= 20, "what was told to be done is done"
    after = sum("ready?" not in str(r.body) for r in vendor.requests) - before
    assert after == 60 - found.facts.cached, "nothing that was done is asked again"
