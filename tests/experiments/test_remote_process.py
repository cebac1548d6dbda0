"""Agents of a second, real platform process: compared over its own websocket, by URL and key."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from convai_lab import background
from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.errors import ConvaiLabError
from convai_lab.experiments.comparison import Comparison, compare
from convai_lab.experiments.progress import WarningsAlone
from convai_lab.testing.fake_vendors import FakeVendor
from convai_lab.workspace.connect import connect
from convai_lab.workspace.local_process import LocalProcess
from convai_lab.workspace.transport import Place
from convai_lab.workspace.workspace import Workspace

from .conftest import scenarios

Run = Callable[..., Comparison]
CASE: dict[str, Any] = {"opening": "When do you open?", "checks": [{"said": "nine"}], "variables": {"name": "Ada"}}
OPEN = Agent(name="Open", prompt="# Knowledge\n- We open at nine.", first_message="Hi {{name}}.")
SHUT = OPEN.with_changes(name="Shut", prompt="# Knowledge\n- We open at ten.")


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[LocalProcess]:
    """A platform with a data folder of its own, which is not this process's platform."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    process = LocalProcess(folder)
    yield process
    process.close()


@pytest.fixture
def elsewhere(platform: LocalProcess) -> Workspace:
    place: Place = background.run(platform.locate())
    assert place.key is not None
    return connect(place.url, api_key=place.key.reveal())


def test_agents_of_another_platform_are_compared_and_resumed(
    platform: LocalProcess, elsewhere: Workspace, run: Run
) -> None:
    variants = [elsewhere.agents.create(OPEN), elsewhere.agents.create(SHUT)]
    result = run(variants, scenarios(3, **CASE), trials=2, workspace=elsewhere)
    assert [(trial.variant, trial.success) for trial in result] == [("Open", True), ("Shut", False)] * 6
    conversation = result.conversation("Open", "s0")
    assert [turn.text for turn in conversation.turns][:2] == ["Hi Ada.", "When do you open?"]
    stored = elsewhere.conversations.list()
    assert len(stored) == 12
    assert conversation.id in {one.id for one in stored}
    platform.close()
    again = run(variants, scenarios(3, **CASE), trials=2, workspace=elsewhere)
    assert (again.facts.cached, again.facts.fresh) == (12, 0)


def test_a_platform_that_dies_is_no_failure_of_the_agent(
    platform: LocalProcess, elsewhere: Workspace, run: Run
) -> None:
    agent = elsewhere.agents.create(OPEN)
    process = platform._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    result = run(agent, scenarios(2, **CASE), workspace=elsewhere)
    assert [(trial.success, trial.failed_party) for trial in result] == [(None, "provider")] * 2
    assert result.facts.faults == {"provider": 2}


def test_functions_answer_here_for_an_agent_over_there(elsewhere: Workspace, run: Run) -> None:
    asked = list[str]()

    @tool
    def order_status(order_id: str) -> dict[str, str]:
        """Look up an order by its number."""
        asked.append(order_id)
        return {"status": "shipped"}

    agent = elsewhere.agents.create(OPEN.with_changes(prompt="You look up orders.", tools=[order_status]))
    case = {"opening": "Where is my order 1234?", "variables": {"name": "Ada"}}
    checks = [{"called": {"tool": "order_status", "arguments": {"order_id": "1234"}}}]
    result = run(agent, scenarios(1, **{**case, "checks": checks}), workspace=elsewhere)
    assert result.trials[0].success is True, result.trials[0].reason
    assert asked == ["1234"]


def test_what_mocks_do_not_reach_and_what_is_not_counted_is_said_before_the_run(
    elsewhere: Workspace, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = elsewhere.agents.create(OPEN)
    cases = scenarios(2, **CASE, mocks={"order_status": [{"result": 1}]})
    note = f"the mocks of 2 scenarios are not used on {elsewhere.platform}: the agent's own tools answer"
    estimate = str(compare(agent, cases, workspace=elsewhere, dry_run=True))
    assert note in estimate
    assert f"the price of conversations on {elsewhere.platform} is not known" in estimate
    assert "free" not in estimate

    class Watch(WarningsAlone):
        def start(self, total: int, *, done: int, max_cost: float | None) -> None:
            print("the first trial begins", file=sys.stderr)

    result = run(agent, cases, workspace=elsewhere, progress=Watch())
    told = capsys.readouterr().err
    assert 0 <= told.index(note) < told.index("the first trial begins")
    assert any(note in told for told in result.facts.notes)


def test_a_wrong_key_is_one_sentence(platform: LocalProcess, run: Run) -> None:
    place: Place = background.run(platform.locate())
    stranger = connect(place.url, api_key="wrong")
    with pytest.raises(ConvaiLabError, match="key"):
        run("Open", scenarios(1, **CASE), workspace=stranger)


def test_a_judge_here_grades_what_was_said_over_there(vendor: FakeVendor, elsewhere: Workspace, run: Run) -> None:
    vendor.answer(  # type: ignore[attr-defined]
        lambda _: '{"criteria": [{"id": "expected_outcome", "reason": "It was said.", "result": "success"}]}'
    )
    agent = elsewhere.agents.create(OPEN)
    result = run(
        agent, scenarios(1, **CASE, expected_outcome="Opening hours are told."), workspace=elsewhere, judge="gpt-4o"
    )
    assert result.trials[0].success is True
    assert result.facts.cost_usd >= (result.trials[0].judge_cost_usd or 0) > 0
    assert "We open at nine" in str(vendor.requests[-1].body)
