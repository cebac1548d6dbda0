"""Marks of the user's own code and objects: another one for what changes a result, and the same for all else."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.evaluation.judge import Judge
from convai_lab.experiments import code_mark
from convai_lab.experiments.code_mark import content_mark, same_after_running, unmarked_in
from convai_lab.experiments.comparison import Comparison
from convai_lab.experiments.plan import agent_mark
from convai_lab.experiments.roles import JudgeSpec
from convai_lab.simulation.simulated_user import Move
from convai_lab.testing.fake_llm import FakeLLM

from .conftest import scenarios

CELL = """
import functools
PRICES = {"tea": 2, "nuts": [1, 2]}
SEEN = []
OBJECTS = {"thing": object(), "when": {"b", "a", "c"}}
class Shop:
    rate = 2
    def __init__(self, prices): self.prices = prices
    def price(self, name): return self.prices[name] * self.rate
SHOP = Shop(PRICES)
def lookup(name): return PRICES[name] if name in {"tea", "coffee", "milk", "nuts"} else None
def deep(name): return [helper for helper in (lookup(name),)]
def find(name):
    SEEN.append(name)
    return deep(name), OBJECTS, (lambda: SHOP.price(name))()
bound = SHOP.price
partial = functools.partial(lookup, "tea")
cached = functools.lru_cache(lookup)
"""


def edited(text: str, name: str = "__main__") -> dict[str, Any]:
    """Run a cell of a notebook."""
    names: dict[str, Any] = {"__name__": name}
    exec(text, names)
    return names


@pytest.mark.parametrize(
    ("old", "new", "which"),
    [
        ("return PRICES[name]", "return 2 * PRICES[name]", ("find", "partial", "cached")),
        ('"tea": 2', '"tea": 3', ("find", "bound", "partial", "cached")),
        ("rate = 2", "rate = 3", ("find", "bound")),
        ("* self.rate", "+ self.rate", ("find", "bound")),
        ('(lookup, "tea")', '(lookup, "nuts")', ("partial",)),
        ('"milk"', '"beer"', ("find", "partial", "cached")),
    ],
)
def test_whatever_a_function_uses_tells_it_from_others(old: str, new: str, which: tuple[str, ...]) -> None:
    assert old in CELL
    before, after = edited(CELL), edited(CELL.replace(old, new))
    changed = {name for name in ("find", "bound", "partial", "cached") if _mark(before, name) != _mark(after, name)}
    assert changed == set(which)


def _mark(names: dict[str, Any], name: str) -> str:
    return content_mark(names[name])


def test_a_tool_whose_helper_was_edited_is_another_tool() -> None:
    names = edited("def lookup(id): return 1\ndef find(id: str) -> int:\n  'Find it.'\n  return lookup(id)")
    agent = Agent(name="A", tools=(tool(names["find"]),))
    before = agent_mark(agent)
    exec("def lookup(id): return 2", names)
    assert agent_mark(agent) != before


def test_an_agent_is_marked_by_the_newest_definition_of_its_tool_which_is_the_one_that_runs() -> None:
    text = "def newly_found(id: str) -> int:\n  'Find it.'\n  return "
    agent = Agent(name="A", tools=(tool(edited(text + "1")["newly_found"]),))
    before = agent_mark(agent)
    tool(edited(text + "2")["newly_found"])
    assert agent_mark(agent) != before


def test_functions_of_the_users_modules_are_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("my_orders")
    monkeypatch.setitem(sys.modules, "my_orders", module)
    uses = [edited(f"{head}\ndef find(id):\n  {inner}return my_orders.lookup(id)")["find"]
            for head, inner in (("import my_orders", ""), ("", "import my_orders; "))]  # fmt: skip
    marks = []
    for answer in ("1", "2"):
        exec(f"def lookup(id): return {answer}", vars(module))
        marks.append([content_mark(use) for use in uses])
    assert all(one != other for one, other in zip(*marks, strict=True))


def test_the_mark_is_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(CELL)
    ask = (
        "from convai_lab.experiments.code_mark import content_mark as m; import shop; "
        "print([m(f) for f in (shop.find, shop.bound, shop.partial, shop.cached)])"
    )
    asked = [
        subprocess.Popen(
            [sys.executable, "-c", ask],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(["", *sys.path])},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    one, two = (process.communicate()[0] for process in asked)
    assert one == two
    assert one.startswith("[")


def test_what_a_function_changes_by_running_makes_it_no_other_function() -> None:
    names = edited("COUNT, SEEN = 0, []\ndef find(id):\n  global COUNT; COUNT += 1; SEEN.append(id); return 1")
    find, seen = names["find"], names["SEEN"]
    before = content_mark(find)
    for _ in range(3):
        with same_after_running([find]):
            find("7")
        assert content_mark(find) == before
    seen.append("by hand")
    assert content_mark(find) != before


def test_a_cell_that_is_run_again_meanwhile_makes_another_function() -> None:
    names = edited("def lookup(id): return 1\ndef find(id): return lookup(id)")
    before = content_mark(names["find"])
    with same_after_running([names["find"]]):
        exec("def lookup(id): return 2", names)
    assert content_mark(names["find"]) != before


def test_tables_are_looked_into_and_what_only_a_library_knows_is_named() -> None:
    import sqlite3

    names = edited("def find(id): return TABLE, DB, id")
    marks = []
    for value in (1, 1, 2):
        names["TABLE"], names["DB"] = pd.DataFrame({"a": [value]}), sqlite3.connect(":memory:")
        marks.append(content_mark(names["find"]))
    assert marks[0] == marks[1] != marks[2]
    assert unmarked_in(names["find"]) == ("DB (Connection)",)


def test_of_plain_data_everything_counts_however_much_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_mark, "MOST_VALUES", 100)
    names = edited("ORDERS = {'all': [[n] for n in range(1000)]}\ndef find(id): return ORDERS")
    before = content_mark(names["find"])
    names["ORDERS"]["all"][-1][0] = "sold"
    assert content_mark(names["find"]) != before


def test_circles_and_endless_depths_come_to_an_end() -> None:
    names = edited("def one(n): return two(n), RING\ndef two(n): return one(n)\nRING = []\nRING.append(RING)")
    names["DEEP"] = functools.reduce(lambda inner, _: [inner], range(5000), [])
    assert content_mark(names["one"]) == content_mark(names["one"]) != content_mark(names["two"])
    assert content_mark(lambda: names["DEEP"])


@dataclass
class Mine:
    """A judge of somebody's own."""

    threshold: float

    async def answer(self, *_: Any, **__: Any) -> Any:
        """Answer nothing."""


def test_judges_are_told_apart_by_all_that_they_hold() -> None:
    llm = FakeLLM(["x"])
    judges = [Mine(0.5), Mine(0.9), Judge(llm), Judge(llm, max_chars=9_000), "offline", None]
    marks = [str(JudgeSpec(judge).mark) for judge in judges]
    assert len(set(marks)) == len(marks)
    assert str(JudgeSpec(Mine(0.5)).mark) == marks[0]


class Counting:
    """A caller who counts."""

    name = "counting"

    def __init__(self) -> None:
        self.count = 0

    async def next_move(self, *_: Any) -> Move:
        """Ask once."""
        self.count += 1
        return Move(text="Where is my order?", stop="goal_reached")


def test_a_caller_who_counts_meets_no_trial_twice(run: Callable[..., Comparison], tmp_path: Path) -> None:
    agent, caller = Agent(name="A", prompt="You are Sam.", llm="offline"), Counting()
    for fresh in (3, 0):
        result = run(agent, scenarios(3), simulated_user=caller, journal=tmp_path / "j")
        assert result.facts.fresh == fresh
    caller.count = 77
    assert run(agent, scenarios(3), simulated_user=caller, journal=tmp_path / "j").facts.fresh == 3


def test_what_was_reused_without_a_look_into_it_is_said(run: Callable[..., Comparison], tmp_path: Path) -> None:
    names = edited("import sqlite3\nDB = sqlite3.connect(':memory:')\ndef find(id: str):\n  'Find it.'\n  return DB")
    agent = Agent(name="A", prompt="You are Sam.", llm="offline", tools=(tool(names["find"]),))
    notes = [run(agent, scenarios(1), journal=tmp_path / "j").facts.notes for _ in range(2)]
    said = (
        "1 trial came from the journal without a look into DB (Connection): if that has changed, name another journal"
    )
    assert said not in notes[0]
    assert said in notes[1]
