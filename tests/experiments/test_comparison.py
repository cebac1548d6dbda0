"""What a comparison finds, keeps and repeats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.errors import InvalidValueError, MissingKeyError, ModelNotFoundError, NotFoundError
from convai_lab.experiments.comparing import partial_comparison
from convai_lab.experiments.comparison import Comparison, acompare, compare
from convai_lab.experiments.estimate import Estimate
from convai_lab.testing.fake_vendors import FakeVendor
from convai_lab.testing.vendor_script import BadKey, NoSuchModel, Received, Sent, Status

from .conftest import MODEL, SHIPPED, scenarios

Run = Callable[..., Comparison]
SUPPORT = "datasets/scenarios/support.yaml"


def says(text: str, *, when: str, otherwise: str = SHIPPED) -> Callable[[Received], str]:
    """Answer `text` to requests that hold `when`."""
    return lambda received: text if when in str(received.body) else otherwise


def test_every_scenario_is_held_with_every_variant_as_often_as_asked(
    vendor: FakeVendor, agent: Agent, run: Run
) -> None:
    vendor.answer(says("I do not know.", when="terse"))
    result = run({"plain": agent, "terse": agent.with_changes(prompt="Be terse.")}, scenarios(2), trials=2)
    assert [trial.id for trial in result] == [
        (name, scenario, number) for scenario in ("s0", "s1") for number in (0, 1) for name in ("plain", "terse")
    ]
    assert [trial.success for trial in result] == [True, False] * 4
    assert result.baseline == "plain"
    assert result.challengers == ("terse",)


def test_variants_meet_the_same_callers(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    result = run({"a": agent, "b": agent}, scenarios(2), trials=2)
    seeds = {name: [trial.seed for trial in result if trial.variant == name] for name in ("a", "b")}
    assert seeds["a"] == seeds["b"]
    assert len(set(seeds["a"])) == 4


def test_the_table_has_a_row_for_each_trial_and_says_what_is_not_known(
    vendor: FakeVendor, agent: Agent, run: Run
) -> None:
    vendor.answer(lambda _: Status(code=400, message="no"))
    vendor.answer(lambda received: SHIPPED if "ready?" in str(received.body) else Status(code=400, message="no"))
    frame = run(agent, scenarios(1)).df
    assert list(frame.columns[:6]) == ["variant", "scenario", "trial", "seed", "success", "failed_party"]
    row = frame.iloc[0]
    assert row["failed_party"] == "provider"
    assert frame["success"].isna().all()
    assert frame["voice_to_voice_ms"].isna().all()


def test_what_a_vendor_breaks_is_no_failure_of_the_agent(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    vendor.answer(lambda received: Status(code=400, message="bad luck") if "ready?" not in str(received.body) else "ok")
    result = run(agent, scenarios(2))
    assert [trial.success for trial in result] == [None, None]
    assert result.facts.faults == {"provider": 2}
    assert all("bad luck" in (trial.reason or "") for trial in result)


def test_a_conversation_is_read_from_the_journal_when_asked_for(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    result = run(agent, scenarios(1))
    assert result.trials[0].conversation is None
    conversation = result.conversation("Support", "s0")
    assert [turn.text for turn in conversation] == ["Where is my order?", SHIPPED]
    assert (conversation.variant, conversation.scenario, conversation.source) == ("Support", "s0", "simulated")


def test_a_trial_that_is_not_there_is_one_sentence(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    result = run(agent, scenarios(1))
    with pytest.raises(NotFoundError, match="no trial 7 of 'Support' in 's0'"):
        result.conversation("Support", "s0", 7)


def test_the_same_call_asks_nothing_again(vendor: FakeVendor, agent: Agent, run: Run, asked: Callable[[], int]) -> None:
    first = run({"a": agent, "b": agent}, scenarios(3), trials=2)
    count = len(vendor.requests)
    second = run({"a": agent, "b": agent}, scenarios(3), trials=2)
    assert len(vendor.requests) == count
    assert (second.facts.cached, second.facts.fresh) == (12, 0)
    assert second.df.to_csv() == first.df.to_csv()


def test_more_trials_are_added_to_those_that_are_done(
    vendor: FakeVendor, agent: Agent, run: Run, asked: Callable[[], int]
) -> None:
    run(agent, scenarios(3), trials=1)
    result = run(agent, scenarios(3), trials=3)
    assert (result.facts.cached, result.facts.fresh, asked()) == (3, 6, 9)


def test_an_edit_reruns_only_what_it_touches(
    vendor: FakeVendor, agent: Agent, run: Run, asked: Callable[[], int]
) -> None:
    variants = {"a": agent, "b": agent.with_changes(temperature=0.5)}
    run(variants, scenarios(3))
    variants["b"] = agent.with_changes(temperature=0.7)
    run(variants, scenarios(3))
    assert asked() == 6 + 3
    edited = scenarios(3)
    edited[1]["opening"] = "Has my order left?"
    result = run(variants, edited)
    assert asked() == 9 + 2
    assert result.facts.cached == 4


def test_a_name_is_not_content(vendor: FakeVendor, agent: Agent, run: Run, asked: Callable[[], int]) -> None:
    run({"a": agent}, scenarios(2))
    result = run({"renamed": agent.with_changes(name="Sam")}, scenarios(2))
    assert asked() == 2
    assert {trial.variant for trial in result} == {"renamed"}


def test_the_code_of_a_tool_is_content(agent: Agent, run: Run) -> None:
    cases = [{"id": "s", "opening": "Where is my order 1234?", "checks": [{"called": {"tool": "order_status"}}]}]

    def made(answer: str) -> Agent:
        @tool
        def order_status(order_id: str) -> str:
            """Look up an order by its number."""
            return answer

        return agent.with_changes(llm="offline", tools=(order_status,))

    first, second = made("shipped"), made("lost")
    assert run(first, cases).facts.fresh == 1
    assert run(first, cases).facts.fresh == 0
    assert run(second, cases).facts.fresh == 1


def test_two_equal_variants_are_held_each_for_itself(
    vendor: FakeVendor, agent: Agent, run: Run, asked: Callable[[], int]
) -> None:
    run({"a": agent, "again": agent}, scenarios(2))
    assert asked() == 4


def test_offline_comparisons_repeat_byte_for_byte(run: Run) -> None:
    tables = [run([{"temperature": 0.1}, {"temperature": 0.2}], SUPPORT, simulated_user=None, journal=name).df
              for name in ("one", "two")]  # fmt: skip
    assert len(tables[0]) == 40
    assert tables[0].to_csv().encode() == tables[1].to_csv().encode()
    assert tables[0]["success"].mean() > 0.5


def test_another_seed_means_other_trials(run: Run) -> None:
    cases = scenarios(2)
    offline = Agent(name="Support", prompt="Orders have shipped.", llm="offline")
    first, second = run(offline, cases, seed=1), run(offline, cases, seed=2)
    assert {trial.key for trial in first}.isdisjoint(trial.key for trial in second)


def test_rules_do_not_compete_with_models_unless_that_is_meant(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    both = {"real": agent, "rules": agent.with_changes(llm="offline")}
    with pytest.raises(InvalidValueError, match=r"rules answers by offline rules .* beside real"):
        run(both, scenarios(1))
    assert vendor.requests == []
    assert run(both, scenarios(1), allow_offline=True).facts.offline == ("rules",)


def test_a_missing_key_is_said_before_anything_is_held(agent: Agent, run: Run) -> None:
    with pytest.raises(MissingKeyError, match="OPENAI_API_KEY"):
        run(agent, scenarios(2))
    rules = agent.with_changes(llm="offline")
    with pytest.raises(MissingKeyError, match=r"the judge \(gpt-4o\) needs OPENAI_API_KEY.*\(--judge offline\)"):
        run(rules, scenarios(2), judge="gpt-4o")
    with pytest.raises(MissingKeyError, match=r"the simulated user \(gpt-4o\) .*\(--simulated-user offline\)"):
        run(rules, scenarios(2), simulated_user="gpt-4o")


@pytest.mark.parametrize(("answer", "said"), [(NoSuchModel(), "does not offer"), (BadKey("no"), "refused the key")])
def test_a_model_that_cannot_work_is_said_after_one_question(
    vendor: FakeVendor, agent: Agent, run: Run, answer: Any, said: str
) -> None:
    vendor.answer(lambda _: answer)
    with pytest.raises(Exception, match=said):
        run(agent, scenarios(20))
    assert sum(received.method == "POST" for received in vendor.requests) == 1


def test_a_retired_model_comes_with_a_suggestion(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    vendor.answer(lambda _: NoSuchModel())
    with pytest.raises(ModelNotFoundError, match="did you mean"):
        run(agent.with_changes(llm="gpt-4o-minni"), scenarios(1))


def test_what_is_in_the_journal_needs_no_key(
    vendor: FakeVendor, agent: Agent, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(agent, scenarios(2))
    monkeypatch.delenv("OPENAI_API_KEY")
    assert run(agent, scenarios(2)).facts.cached == 2


def test_an_estimate_asks_nothing_and_names_models_without_a_price(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    estimate = compare(
        {"a": agent, "b": agent.with_changes(llm="openai/nobody-knows")}, scenarios(2), dry_run=True, progress=False
    )
    assert isinstance(estimate, Estimate)
    assert vendor.requests == []
    assert estimate.unpriced == ("openai/nobody-knows",)
    assert 0 < estimate.usd.low < estimate.usd.high
    assert "the price of openai/nobody-knows is not known" in str(estimate)


def test_a_run_stops_at_its_limit_and_keeps_what_is_done(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    cases = scenarios(200, opening="Where is my order? " * 300)
    result = run(agent, cases, max_cost=0.00005, concurrency=4)
    assert result.facts.stopped == "max_cost"
    assert 0 < len(result) < 50
    assert result.facts.cost_usd < 0.0002
    assert "call again with a higher one" in result.facts.notes[0]
    assert run(agent, cases[:1], max_cost=1).facts.cached == 1


def test_a_run_that_is_free_needs_no_limit(agent: Agent, run: Run) -> None:
    result = run(agent.with_changes(llm="offline"), scenarios(3), max_cost=0)
    assert len(result) == 3


async def test_an_interrupt_keeps_what_is_done(vendor: FakeVendor, agent: Agent) -> None:
    vendor.answer(lambda r: Sent(SHIPPED, hang_after=0) if "slow" in str(r.body) else SHIPPED)
    cases = [*scenarios(3), {**scenarios(1)[0], "id": "slow", "opening": "slow"}]
    seen = asyncio.Event()

    class Watch:
        def start(self, total: int, *, done: int, max_cost: float | None) -> None:
            self.count = 0

        def advance(self, count: int, *, cost_usd: float) -> None:
            self.count += count
            if self.count == 3:
                mine.call_soon_threadsafe(seen.set)

        def close(self, text: str) -> None:
            pass

    from convai_lab.experiments.comparing import Request, compared

    mine = asyncio.get_running_loop()
    task = asyncio.create_task(compared(Request(variants=agent, scenarios=cases, simulated_user="scripted"), Watch()))
    await seen.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as interrupted:
        await task
    partial = partial_comparison(interrupted.value)
    assert partial is not None
    assert len(partial) == 3
    assert "the same call goes on from there" in interrupted.value.__notes__[0]
    vendor.answer(lambda _: SHIPPED)
    result = await acompare(agent, cases, simulated_user="scripted", progress=False)
    assert isinstance(result, Comparison)
    assert (result.facts.cached, result.facts.fresh) == (3, 1)


async def test_a_misspelled_option_is_named(agent: Agent) -> None:
    with pytest.raises(TypeError, match="no option 'trails': did you mean trials\\?"):
        await acompare(agent, scenarios(1), trails=5)


async def test_two_runs_at_once_share_a_journal(vendor: FakeVendor, agent: Agent) -> None:
    both = await asyncio.gather(
        *(acompare(agent, scenarios(20), simulated_user="scripted", progress=False) for _ in range(2))
    )
    assert [len(one) for one in both if isinstance(one, Comparison)] == [20, 20]
    first, second = both
    assert isinstance(first, Comparison)
    assert isinstance(second, Comparison)
    assert first.df["conversation_id"].equals(second.df["conversation_id"])


def test_a_third_of_the_scenarios_decides_when_the_difference_is_plain(
    vendor: FakeVendor, agent: Agent, run: Run
) -> None:
    vendor.answer(says("I do not know.", when="terse"))
    both = {"plain": agent, "terse": agent.with_changes(prompt="Be terse.")}
    result = run(both, scenarios(60), stop="decided", concurrency=2)
    assert result.facts.stopped == "decided"
    assert 12 <= len(result) < 60
    assert "stopped early" in result.facts.notes[0]


def test_what_is_decided_asks_nothing_more_when_it_is_called_again(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    vendor.answer(says("I do not know.", when="terse"))
    both = {"plain": agent, "terse": agent.with_changes(prompt="Be terse.")}
    first = run(both, scenarios(30), stop="decided", concurrency=2)
    before = len(vendor.requests)
    again = run(both, scenarios(30), stop="decided", concurrency=2)
    assert (len(vendor.requests), len(again)) == (before, len(first))
    assert (again.facts.fresh, again.facts.stopped) == (0, "decided")


def test_without_checks_and_judge_nothing_is_claimed(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    result = run(agent, ["Where is my order?"])
    assert result.trials[0].success is None
    assert result.trials[0].failed_party is None
    assert "nothing to be graded by" in result.facts.notes[0]


def test_a_judge_decides_what_the_scenario_expects(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    cases = [{"id": "s", "opening": "Hi", "expected_outcome": 'The agent said "shipped"', "max_turns": 2}]
    result = run(agent, cases, judge="offline")
    assert result.trials[0].success is True
    assert result.trials[0].criteria["expected_outcome"].value == "success"
    assert result.facts.judge == "offline"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trials": 0}, "trials: must be a whole number from 1"),
        ({"trials": True}, "trials"),
        ({"seed": "x"}, "seed: must be a whole number"),
        ({"max_cost": -1}, "max_cost: must be USD from 0"),
        ({"max_cost": float("nan")}, "max_cost"),
        ({"concurrency": 0}, "concurrency: must be a whole number from 1"),
        ({"mode": "smell"}, "mode: must be text or voice"),
        ({"stop": "soon"}, "stop: must be 'decided' or None"),
        ({"baseline": "nobody"}, "baseline: 'nobody' is no variant; they are Support"),
        ({"judge": 7}, "judge: must be a model's name"),
        ({"executor": "threads"}, "executor: must be 'local' or a dask.distributed Client"),
        ({"executor": "dask"}, "executor: give the client itself"),
        ({"journal": "/nowhere/at/all.sqlite3"}, "journal: .* cannot be a journal"),
        ({"trials": 10_000_000}, "conversations; at most 1,000,000"),
    ],
)
def test_a_wrong_option_is_one_sentence_that_names_it(agent: Agent, run: Run, options: Any, said: str) -> None:
    with pytest.raises(InvalidValueError, match=said):
        run(agent.with_changes(llm="offline"), scenarios(1), **options)


def test_a_wrong_check_is_named_before_anything_is_held(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    with pytest.raises(InvalidValueError, match=r"scenario .s0., check 1"):
        run(agent, scenarios(1, checks=[{"sayd": "x"}]))
    assert vendor.requests == []


def test_the_model_asked_for_is_the_model_that_is_asked(vendor: FakeVendor, agent: Agent, run: Run) -> None:
    run({"a": agent, "b": agent.with_changes(llm="gpt-4o")}, scenarios(1))
    models = {received.body["model"] for received in vendor.requests if received.method == "POST"}
    assert models == {MODEL, "gpt-4o"}
