"""A comparison in a real browser: what it shows cannot act, folds open by the keyboard, and fits a narrow window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

mpl.use("Agg")

from convai_lab.agents.agent import Agent
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn
from convai_lab.evaluation.check import CheckResult
from convai_lab.experiments.comparison import Comparison, RunFacts
from convai_lab.experiments.report import write_report
from convai_lab.experiments.trial import TrialResult
from convai_lab.experiments.variant import Variant
from convai_lab.simulation.scenario import Scenario

HOSTILE = "\"'><img src=x onerror=window.hacked=1><script>window.hacked=2</script></td></details>{{7*7}}"
NAMES = (HOSTILE[:75], "second")


def _comparison() -> Comparison:
    """Return a comparison in which everything that may come from outside is hostile."""
    turns = (
        Turn(role="user", text=HOSTILE),
        Turn(
            role="agent", text=HOSTILE, llm_served=HOSTILE, marks=(HOSTILE,), error=HOSTILE,
            tool_calls=(ToolCall(id="1", name=HOSTILE, arguments={HOSTILE: HOSTILE}),),
            tool_results=(ToolResult(call_id="1", name=HOSTILE, value=HOSTILE),),
        ),
    )  # fmt: skip
    trials = tuple(
        TrialResult(
            variant=name, scenario_id=scenario, trial=0, seed=1, key=f"{place}{scenario}"[:20], success=bool(place),
            checks=(CheckResult(bool(place), HOSTILE, HOSTILE),), conversation_id="c", cost_usd=0.01,
            model_served=HOSTILE, ttft_ms=(100.0,),
        )
        for scenario in (HOSTILE, "calm")
        for place, name in enumerate(NAMES)
    )  # fmt: skip
    return Comparison(
        trials=trials,
        variants=tuple(Variant(name, Agent(name=HOSTILE)) for name in NAMES),
        scenarios=tuple(Scenario(id=scenario, opening="Hello") for scenario in (HOSTILE, "calm")),
        baseline=NAMES[0],
        facts=RunFacts(planned=4, fresh=4, judge=HOSTILE, notes=(HOSTILE,), offline=NAMES[:1], source=HOSTILE),
        find_conversation=lambda _: Conversation(id=HOSTILE, agent_id="a", agent_name=HOSTILE, turns=turns),
    )


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 420, "height": 900})
    yield context.new_page()
    context.close()


@pytest.fixture(params=["output", "report"])
def shown(request: pytest.FixtureRequest, page: Any, tmp_path: Path) -> Any:
    """The output of a cell, and the report."""
    comparison = _comparison()
    file = tmp_path / "x.html"
    if request.param == "output":
        file.write_text(f"<!doctype html><meta charset=utf-8><body>{comparison._repr_html_()}", encoding="utf-8")
    else:
        write_report(comparison, file, title=HOSTILE)
    page.goto(file.as_uri())
    return page


def test_hostile_words_are_seen_and_do_nothing(shown: Any) -> None:
    shown.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    shown.evaluate("Promise.all([...document.images].map(image => image.decode().catch(() => null)))")
    assert shown.evaluate("window.hacked") is None
    assert shown.locator("img:not([src^='data:'])").count() == 0
    assert shown.locator("script").count() == 0
    said = shown.locator("details").first.inner_text()
    assert said.count(HOSTILE) >= 4
    assert shown.locator("details").count() == 2


def test_a_flip_opens_by_the_keyboard_and_shows_both_conversations(shown: Any) -> None:
    summary = shown.locator("summary").first
    summary.focus()
    shown.keyboard.press("Enter")
    columns = shown.locator("details[open] > div > div")
    assert columns.count() == 2
    assert "failed" in columns.nth(0).inner_text()
    assert "succeeded" in columns.nth(1).inner_text()


def test_a_narrow_window_scrolls_the_table_and_not_the_page(shown: Any) -> None:
    shown.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    board = shown.locator("[aria-label='Leaderboard']")
    assert board.evaluate("board => board.scrollWidth > board.clientWidth")


def test_a_calm_comparison_of_nothing_is_shown_too(page: Any) -> None:
    page.set_content(replace(_comparison(), trials=())._repr_html_())
    assert "no trial is done" in page.inner_text("body")


CELL = """
from convai_lab.experiments.comparison import compare
from convai_lab.agents.agent import Agent

agent = Agent(name="Support", prompt="Q: Where is my order?\\nA: Your order has shipped.", llm="offline")
cases = [{"id": f"case_{i}", "opening": "Where is my order?", "checks": [{"said": "shipped"}]} for i in range(8)]
compare({"answers": agent, "is lost": agent.with_changes(prompt="Say sorry.")}, cases, progress=False)
"""


CROWDED = """(() => {
  const board = document.querySelector('[aria-label="Leaderboard"]');
  const cells = [...board.querySelectorAll('tr > *')];
  return board.scrollWidth > board.clientWidth || cells.some(cell => cell.scrollWidth > cell.clientWidth + 1);
})()"""


def test_a_comparison_is_the_value_of_a_cell_in_jupyterlab(open_notebook: Any) -> None:
    notebook = open_notebook([CELL])
    (output,) = notebook.run(0)
    assert output["output_type"] == "execute_result", output
    assert {"text/html", "text/plain"} <= set(output["data"])
    seen = notebook.text(0)
    assert "is lost loses to answers by 100 points" in seen
    assert "offline rules, not a language model: all variants" in seen
    notebook.page.locator(".jp-OutputArea summary").first.click()
    assert "Your order has shipped." in notebook.text(0)
    assert "0 ms" not in notebook.text(0)
    assert not notebook.page.evaluate(CROWDED)
