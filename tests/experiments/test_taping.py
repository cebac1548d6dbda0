"""A comparison is recorded once and held again without vendors, keys or time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.errors import CassetteMissError, InvalidValueError, StorageError
from convai_lab.experiments.bundle import cassette_in, load, save
from convai_lab.experiments.comparison import Comparison
from convai_lab.experiments.taping import open_cassette
from convai_lab.experiments.variant import Variant
from convai_lab.providers.cassette import Cassette
from convai_lab.testing.fake_llm import Reply
from convai_lab.testing.fake_vendors import FakeVendor
from convai_lab.testing.vendor_script import Received, Status

Run = Callable[..., Comparison]
CASES = [
    {"id": f"s{i}", "opening": f"Where is order {i}?", "checks": [{"said": "shipped"}], "max_turns": 2}
    for i in range(3)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def lose_the_vendor(vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the key and the address away, and count what comes all the same."""
    for name in vendor.settings:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    vendor.requests.clear()


def varied(received: Received) -> Any:
    """Answer each request in its own words; every fifth is refused first."""
    seed = received.body.get("seed", 0)
    varied.count += 1  # type: ignore[attr-defined]
    if varied.count % 5 == 0:  # type: ignore[attr-defined]
        return Status(code=429, headers={"retry-after": "0"})
    return Reply(f"Order of seed {seed} has {'shipped' if seed % 3 else 'not left'}.")


def facts_of(comparison: Comparison) -> list[Any]:
    return [
        (t.variant, t.scenario_id, t.trial, t.success, t.cost_usd, t.input_tokens, t.model_served, [x.text for x in c])
        for t in comparison.trials
        if (c := comparison.conversation(*t.id))
    ]


def test_a_recorded_comparison_is_held_again_without_vendor_or_key(
    agent: Agent, vendor: FakeVendor, run: Run, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    varied.count = 0  # type: ignore[attr-defined]
    vendor.answer(varied)  # type: ignore[attr-defined]
    variants = {"a": agent, "b": agent.with_changes(prompt="Be brief.")}
    live = run(variants, CASES, trials=4, cassette=f"{path}:record", journal=tmp_path / "one")
    assert len(live) == 24
    assert {t.success for t in live} == {True, False}
    assert any("recorded into run.jsonl" in note for note in live.facts.notes)
    lose_the_vendor(vendor, monkeypatch)
    again = run(variants, CASES, trials=4, cassette=path, journal=tmp_path / "two", max_cost=1e-9)
    assert facts_of(again) == facts_of(live)
    assert not vendor.requests
    assert again.facts.fresh == 24
    assert again.facts.cost_usd == 0
    assert any("replayed from run.jsonl: no vendor was asked" in note for note in again.facts.notes)
    assert again.conversation("a", "s0", 0).cassette == "run.jsonl"


def test_replayed_latencies_are_the_recorded_ones_to_the_microsecond(
    agent: Agent, vendor: FakeVendor, run: Run, path: Path, tmp_path: Path
) -> None:
    vendor.answer(lambda _: Reply(["It ", "shipped."], delay_secs=0.03))  # type: ignore[attr-defined]
    live = run(agent, CASES, cassette=f"{path}:record", journal=tmp_path / "one")
    again = [run(agent, CASES, cassette=path, journal=tmp_path / name) for name in ("two", "three")]
    for trial, other in zip(live, again[0], strict=True):
        assert trial.ttft_ms[0] >= 30
        assert 30 <= other.ttft_ms[0] <= trial.ttft_ms[0] + 0.01  # what we ourselves took is left out
    assert [t.ttft_ms for t in again[0]] == [t.ttft_ms for t in again[1]]
    assert [t.reply_ms for t in again[0]] == [t.reply_ms for t in again[1]]


def test_equal_variants_get_their_own_answers_back(
    agent: Agent, vendor: FakeVendor, run: Run, path: Path, tmp_path: Path
) -> None:
    varied.count = 0  # type: ignore[attr-defined]
    said = iter(range(1000))
    vendor.answer(lambda _: f"It shipped, answer {next(said)}.")  # type: ignore[attr-defined]
    live = run({"a": agent, "b": agent}, CASES, trials=2, cassette=f"{path}:record", journal=tmp_path / "one")
    again = run({"a": agent, "b": agent}, CASES, trials=2, cassette=path, journal=tmp_path / "two")
    assert facts_of(again) == facts_of(live)


def test_a_request_that_was_not_recorded_ends_the_run_with_one_sentence(
    agent: Agent, vendor: FakeVendor, run: Run, path: Path, tmp_path: Path
) -> None:
    run(agent, CASES, cassette=f"{path}:record", journal=tmp_path / "one")
    vendor.requests.clear()
    edited = agent.with_changes(prompt="You are Max.")
    with pytest.raises(
        CassetteMissError, match=r"messages\[0\].content is from character \d+ on .*Max.* and was .*Sam"
    ):
        run(edited, CASES, cassette=path, journal=tmp_path / "two")
    with pytest.raises(CassetteMissError, match="seed"):
        run(agent, CASES, trials=2, cassette=path, journal=tmp_path / "three")
    assert not vendor.requests


def test_a_trial_that_was_held_again_is_replayed_as_it_went_the_last_time(
    agent: Agent, vendor: FakeVendor, run: Run, path: Path, tmp_path: Path
) -> None:
    vendor.answer(lambda r: Status(code=400, message="no") if "order 1" in str(r.body) else "It shipped.")  # type: ignore[attr-defined]
    first = run(agent, CASES, cassette=f"{path}:record")
    assert [trial.failed_party for trial in first] == [None, "provider", None]
    vendor.answer(lambda _: "It shipped at last.")  # type: ignore[attr-defined]
    live = run(agent, CASES, cassette=f"{path}:record")
    assert (live.facts.fresh, [trial.success for trial in live]) == (1, [True] * 3)
    again = run(agent, CASES, cassette=path, journal=tmp_path / "two")
    assert facts_of(again) == facts_of(live)


def test_recording_resumes_from_the_journal_and_a_lost_cassette_is_recorded_anew(
    agent: Agent, vendor: FakeVendor, run: Run, path: Path, asked: Callable[[], int]
) -> None:
    run(agent, CASES, cassette=f"{path}:record")
    assert asked() == 3
    assert run(agent, CASES, cassette=f"{path}:record").facts.cached == 3
    assert run(agent, CASES, cassette=path).facts.cached == 3
    path.unlink()
    assert run(agent, CASES, cassette=f"{path}:record").facts.fresh == 3
    assert run(agent, CASES, cassette=f"{path}:refresh").facts.fresh == 3
    assert asked() == 9


def test_judges_and_simulated_users_are_on_the_cassette_too(
    agent: Agent, vendor: FakeVendor, run: Run, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(received: Received) -> Any:
        text = str(received.body)
        if "criteria" in text or "rationale" in text:
            return '{"expected_outcome": {"result": "success", "rationale": "it did"}}'
        return "I would like to know where my order is." if "caller" in text.lower() else "It shipped."

    vendor.answer(answer)  # type: ignore[attr-defined]
    cases = [{"id": "s", "goal": "Find the order", "expected_outcome": "It shipped", "max_turns": 4}]
    options = {"judge": "gpt-4o-mini", "simulated_user": "gpt-4o-mini", "trials": 2}
    live = run(agent, cases, cassette=f"{path}:record", journal=tmp_path / "one", **options)
    lose_the_vendor(vendor, monkeypatch)
    again = run(agent, cases, cassette=path, journal=tmp_path / "two", **options)
    assert facts_of(again) == facts_of(live)
    assert [t.criteria for t in again] == [t.criteria for t in live]
    assert [t.judge_cost_usd for t in again] == [t.judge_cost_usd for t in live]


def test_the_setting_is_used_and_never_answers_twice_with_one_recording(
    agent: Agent, vendor: FakeVendor, run: Run, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVAI_LAB_CASSETTE", f"{path}:record")
    run(agent, CASES, journal=tmp_path / "one")
    monkeypatch.setenv("CONVAI_LAB_CASSETTE", str(path))
    lose_the_vendor(vendor, monkeypatch)
    for name in ("two", "three"):  # each comparison begins at the beginning
        assert run(agent, CASES, journal=tmp_path / name).facts.fresh == 3
    with pytest.raises(CassetteMissError, match="was recorded once and is wanted once more"):
        run({"a": agent, "b": agent}, CASES, journal=tmp_path / "four")


def test_what_cannot_be_recorded_is_refused_before_anything_is_asked(
    agent: Agent, vendor: FakeVendor, run: Run, path: Path
) -> None:
    with pytest.raises(StorageError, match=r"there is no cassette"):
        run(agent, CASES, cassette=path)
    with pytest.raises(InvalidValueError, match="cassette: must be a Cassette or a path"):
        run(agent, CASES, cassette=3)
    assert not vendor.requests


def test_tools_of_python_answer_from_the_cassette(
    agent: Agent, vendor: FakeVendor, run: Run, path: Path, tmp_path: Path
) -> None:
    from convai_lab.agents.tools import tool
    from convai_lab.testing.fake_llm import call

    ran: list[str] = []

    @tool
    def order_status(order_id: str) -> dict[str, str]:
        """Look up an order."""
        ran.append(order_id)
        return {"status": "shipped", "eta": f"day {len(ran)}"}

    def answer(received: Received) -> Any:
        last = received.body["messages"][-1]
        return (
            Reply(tool_calls=[call("order_status", order_id="7")])
            if last["role"] == "user"
            else f"It {last['content']}"
        )

    vendor.answer(answer)  # type: ignore[attr-defined]
    with_tool = agent.with_changes(tools=(order_status,))
    live = run(with_tool, CASES, cassette=f"{path}:record", journal=tmp_path / "one")
    assert len(ran) == 3
    again = run(with_tool, CASES, cassette=Cassette(path), journal=tmp_path / "two")
    assert len(ran) == 3
    assert facts_of(again) == facts_of(live)


def test_calls_by_voice_are_recorded_and_held_again(
    agent: Agent, vendor: FakeVendor, run: Run, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.answer(lambda _: Reply(["It ", "shipped."], delay_secs=0.05))  # type: ignore[attr-defined]
    live = run(agent, CASES[:1], mode="voice", cassette=f"{path}:record", journal=tmp_path / "one")
    lose_the_vendor(vendor, monkeypatch)
    again = run(agent, CASES[:1], mode="voice", cassette=path, journal=tmp_path / "two")
    assert live.trials[0].success
    assert facts_of(again) == facts_of(live)
    assert again.trials[0].ttft_ms == live.trials[0].ttft_ms
    assert again.trials[0].voice_to_voice_ms == live.trials[0].voice_to_voice_ms
    assert len(again.trials[0].voice_to_voice_ms) > 0


def test_a_cluster_and_agents_elsewhere_are_refused(agent: Agent, path: Path) -> None:
    here, there = Variant("here", agent), Variant("there", agent, platform="elevenlabs")
    with pytest.raises(InvalidValueError, match="cassette: there answers on another platform"):
        open_cassette(f"{path}:record", [here, there], "local")
    with pytest.raises(InvalidValueError, match="cassette: is recorded and replayed in one process only"):
        open_cassette(f"{path}:record", [here], object())


def test_a_redacted_comparison_is_held_again_from_its_own_cassette(
    agent: Agent, vendor: FakeVendor, run: Run, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.answer(lambda _: Reply(["Ada Love", "lace, it ", "shipped."]))  # type: ignore[attr-defined]
    greeting = agent.with_changes(prompt="You speak to {{name}} about {{order}}.")
    told = [{"name": "Ada Lovelace", "order": "A-1"}, {"name": "Bob", "order": "A-2"}]
    cases = [
        {
            "id": f"s{i}",
            "opening": f"I am {who['name']}.",
            "variables": who,
            "checks": [{"said": "shipped"}],
            "max_turns": 4,
        }
        for i, who in enumerate(told)
    ]
    live = run(greeting, cases, cassette=f"{path}:record", journal=tmp_path / "one")
    saved = load(save(live, tmp_path / "x"))
    (tmp_path / "out").mkdir()
    tape = cassette_in(tmp_path / "x.convai", tmp_path / "out")
    assert tape is not None
    assert "Lovelace" not in tape.read_text()
    lose_the_vendor(vendor, monkeypatch)
    again = run(saved.variants, saved.scenarios, cassette=tape, journal=tmp_path / "two")
    assert [trial.success for trial in again] == [True, True]
    assert again.conversation(saved.variant_names[0], "s0", 0).turns[-1].text == "[name], it shipped."
