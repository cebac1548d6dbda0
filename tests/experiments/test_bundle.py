"""A saved comparison comes back the same, without keys, without callers' secrets, and never from a bad file."""

from __future__ import annotations

import hashlib
import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import WebhookTool
from convai_lab.conversations.conversation import Conversation, CriterionResult
from convai_lab.conversations.turn import ToolCall, Turn
from convai_lab.errors import InvalidValueError, NotFoundError
from convai_lab.evaluation.check import CheckResult
from convai_lab.experiments import archive
from convai_lab.experiments.bundle import cassette_in, load, save
from convai_lab.experiments.comparison import Comparison
from convai_lab.experiments.variant import Variant
from convai_lab.settings import Secret
from convai_lab.simulation.scenario import Scenario

from .conftest import invented

RESULTS = {"a": {"s0": [True, "provider"], "s1": [False, None]}, "b": {"s0": [True, True], "s1": [True, False]}}
FIELDS: dict[str, Any] = {
    "ttft_ms": (120.5, 80.25),
    "judge_cost_usd": 0.0001,
    "input_tokens": 30,
    "model_served": "gpt-4o-mini-2025",
    "criteria": {"polite": CriterionResult(value="unknown", rationale="it was short")},
}


@pytest.fixture
def comparison() -> Comparison:
    return invented(RESULTS, trial=FIELDS, judge="openai/gpt-4o", price_date="2026-11-01", stop="decided")


@pytest.fixture
def saved(comparison: Comparison, tmp_path: Path) -> Path:
    return save(comparison, tmp_path / "x.convai")


def test_what_is_reopened_is_the_same(comparison: Comparison, saved: Path) -> None:
    again = load(saved)
    pd.testing.assert_frame_equal(again.df, comparison.df)
    pd.testing.assert_frame_equal(again.leaderboard(), comparison.leaderboard())
    assert str(again.verdict) == str(comparison.verdict)
    assert again.trials == comparison.trials
    assert again.scenarios == comparison.scenarios
    assert [variant.agent for variant in again.variants] == [variant.agent for variant in comparison.variants]
    assert again.conversation("b", "s1", 0).turns == comparison.conversation("b", "s1", 0).turns


def test_how_it_was_run_comes_along_without_the_paths_of_this_machine(comparison: Comparison, tmp_path: Path) -> None:
    here = replace(comparison, facts=replace(comparison.facts, journal="/home/ada/journals/x.sqlite3"))
    file = save(here, tmp_path / "x")
    facts = load(file).facts
    assert file.name == "x.convai"
    assert replace(facts, notes=()) == replace(comparison.facts, notes=())
    assert facts.notes[-1].startswith("reopened from x.convai (redacted, ")
    assert b"/home/ada" not in b"".join(_parts(file).values())


def test_the_same_comparison_gives_the_same_bytes(comparison: Comparison, tmp_path: Path) -> None:
    first, second = save(comparison, tmp_path / "1.convai"), save(comparison, tmp_path / "2.convai")
    assert first.read_bytes() == second.read_bytes()


def test_conversations_are_read_when_they_are_asked_for(saved: Path) -> None:
    again = load(saved)
    assert again.trials[0].conversation is None
    assert again.conversation("a", "s0", 0).turns[1].text == "a says shipped"


def test_a_reopened_comparison_does_not_mind_that_its_file_is_saved_anew(comparison: Comparison, saved: Path) -> None:
    again = load(saved)
    said = Conversation(id="c", agent_id="a", turns=(Turn(role="user", text="Something else"),))
    save(replace(comparison, find_conversation=lambda _: said), saved)
    assert again.conversation("a", "s0", 0).turns[1].text == "a says shipped"


def test_a_file_that_is_changed_while_it_is_open_is_found_out(comparison: Comparison, tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(100_000).hex()
    said = Conversation(id="c", agent_id="a", turns=(Turn(role="user", text=noise),))
    file = save(replace(comparison, find_conversation=lambda _: said), tmp_path / "x", redact=False)
    again = load(file)
    with file.open("r+b") as opened:
        opened.write(b"\0" * file.stat().st_size)
    with pytest.raises(InvalidValueError, match=r"x\.convai: "):
        again.conversation("a", "s0", 0)


def test_conversations_that_are_gone_or_not_wanted_are_left_out_and_said(
    comparison: Comparison, tmp_path: Path
) -> None:
    gone = load(save(replace(comparison, find_conversation=lambda _: None), tmp_path / "gone"))
    assert any("8 conversations were not in the journal any more" in note for note in gone.facts.notes)
    without = load(save(comparison, tmp_path / "without", conversations=False))
    assert "saved without its conversations" in without.facts.notes
    with pytest.raises(NotFoundError):
        without.conversation("a", "s0", 0)


def _told_everything() -> Comparison:
    """Return a comparison in which callers, agents and models tell what they should not."""
    words = (
        "I am Ada Lovelace, ada.l@example.co.uk, +44 20 7946 0958 or (020) 7946-0958, order 1234, on 2026-11-22. "
        "See https://x.test/cb?access_token=abc123def&x=1 and sk-abcdefghijklmnopqrstuv."
    )
    variables = {"name": "Ada Lovelace", "plan": "gold", "system__time_utc": "12:00"}
    said = Conversation(
        id="c1", agent_id="a", user_id="user-77", variables=variables, turns=(Turn(role="user", text=words),)
    )
    hook = WebhookTool(name="crm", description="d", url="https://x.test/", headers={"X-Api-Key": "very-secret-value"})
    agent = Agent(name="Support", prompt="Write to help@example.com", llm="gpt-4o-mini", tools=(hook,))
    made = invented({"gold": {"s0": [False]}, "b": {"s0": [True]}}, trial={"ended_by": None})
    trials = tuple(
        trial.with_changes(criteria={"c": CriterionResult(value="failure", rationale="Ada Lovelace was called Bob")})
        for trial in made.trials
    )
    return replace(
        made,
        trials=trials,
        variants=tuple(Variant(name, agent) for name in ("gold", "b")),
        scenarios=(Scenario(id="s0", opening="I am Ada Lovelace", variables=variables, tags=("gold",)),),
        find_conversation=lambda _: said,
    )


def test_what_could_tell_who_called_is_taken_out(tmp_path: Path) -> None:
    file = save(_told_everything(), tmp_path / "x")
    everything = b"\n".join(_parts(file).values()).decode()
    for secret in ("Ada", "example.co", "7946", "user-77", "very-secret", "abc123def", "sk-abcdef", "help@"):
        assert secret not in everything, secret
    again = load(file)
    text = again.conversation("gold", "s0", 0).turns[0].text
    assert text.startswith(
        "I am [name], [e-mail], [phone] or [phone], order 1234, on 2026-11-22. See https://x.test/cb"
    )
    assert again.conversation("gold", "s0", 0).variables["name"] == "[name]"
    assert again.variant_names == ("gold", "b")
    assert again.scenarios[0].opening == "I am [name]"
    assert str(again.verdict) == str(_told_everything().verdict)


def test_values_of_variables_are_taken_out_under_whatever_name_they_stand(tmp_path: Path) -> None:
    told = {"name": "Ada Lovelace", "order_id": "A-7710", "role": "user", "plan": "gold", "born": 181512}
    world = {
        "facts": {"name": "Ada Lovelace", "order_id": "A-7710"},
        "state": {
            "orders": {"A-7710": {"id": "A-7710", "holder_name": "Ada Lovelace", "status": "gold", "no": 181512}}
        },
        "mocks": {"find": [{"when": {"order_id": "A-7710"}, "result": {"customer_name": "Ada Lovelace"}}]},
        "checks": [{"state": {"has": {"orders.A-7710.status": "gold"}}}, {"said": "Ada Lovelace"}],
        "expected_tool_calls": [{"tool": "find", "arguments": {"order_id": "A-7710"}}],
    }
    call = ToolCall(id="c", name="find", arguments={"order_id": "A-7710", "no": 181512})
    turn = Turn(role="user", text="I am Ada Lovelace.", tool_calls=(call,))
    said = Conversation(id="c1", agent_id="a", turns=(turn,), variables=told)
    made = invented({"a": {"s0": [False], "s1": [True]}})
    check = CheckResult(False, "said 'Ada Lovelace'", "", "said")
    scenarios = (Scenario(id="s0", opening="Hi", variables=told, **world), Scenario(id="s1", opening="A-7710?"))
    trials = tuple(trial.with_changes(checks=(check,)) for trial in made.trials)
    known = replace(made, scenarios=scenarios, trials=trials, find_conversation=lambda _: said)
    file = save(known, tmp_path / "x")
    everything = b"\n".join(data for name, data in _parts(file).items() if name != "manifest.json").decode()
    for secret in ("Lovelace", "7710", "gold", "181512"):
        assert secret not in everything, secret
    again = load(file)
    assert again.scenarios[0].mocks["find"][0].when == {"order_id": "[order_id]"}
    assert again.scenarios[0].checks[0] == {"state": {"has": {"orders.[order_id].status": "[plan]"}}}
    assert again.conversation("a", "s0", 0).turns[0].tool_calls[0].name == "find"


def test_a_cassette_tells_no_value_of_a_variable_of_any_scenario(tmp_path: Path) -> None:
    tape = tmp_path / "tape.jsonl"
    said = [[0.1, "text", "Dear Ada "], [0.2, "text", "Lovelace!"], [0.3, "done", {"finish_reason": "stop"}]]
    lines: list[dict[str, Any]] = [
        {"convai_cassette": 1, "id": "tape"},
        {"part": "p1", "value": {"role": "system", "content": 'You speak to {"name": "J\\u00f6rg", "no": "A-7710"}.'}},
        {"kind": "llm", "request": {"model": "m", "messages": ["p1"]}, "answer": {"events": said, "ended": 0.3}},
        {
            "kind": "tool",
            "request": {"name": "find", "arguments": {"id": "A-7710"}},
            "answer": {"value": {"id": "A-7710"}},
        },
    ]
    tape.write_text("".join(json.dumps(line) + "\n" for line in lines))
    callers = [{"name": "Ada Lovelace"}, {"name": "Jörg", "order": "A-7710"}]
    scenarios = tuple(Scenario(id=f"s{i}", opening="Hi", variables=known) for i, known in enumerate(callers))
    made = replace(invented({"a": {"s0": [True], "s1": [True]}}), scenarios=scenarios)
    kept = _parts(save(made, tmp_path / "x", cassette=tape))["cassette/tape.jsonl"].decode()
    for secret in ("Ada", "Lovelace", "u00f6rg", "7710"):
        assert secret not in kept, secret
    told = [json.loads(line) for line in kept.splitlines()]
    assert told[2]["answer"]["events"] == [[0.1, "text", "Dear [name]!"], said[2]]
    assert told[3]["request"] == {"name": "find", "arguments": {"id": "[order]"}}


def test_unredacted_files_keep_what_was_said_but_never_a_key(tmp_path: Path) -> None:
    Secret("my-own-provider-key-1")
    told = _told_everything()
    said = told.conversation("gold", "s0", 0)
    with_key = said.with_changes(turns=(*said.turns, Turn(role="agent", text="it is my-own-provider-key-1")))
    file = save(replace(told, find_conversation=lambda _: with_key), tmp_path / "x", redact=False)
    everything = b"\n".join(_parts(file).values()).decode()
    assert "Ada Lovelace" in everything
    assert "ada.l@example.co.uk" in everything
    for key in ("my-own-provider-key-1", "sk-abcdef"):
        assert key not in everything
    assert "(not redacted, " in load(file).facts.notes[-1]


def test_a_cassette_travels_along(comparison: Comparison, tmp_path: Path) -> None:
    tape = tmp_path / "tape.jsonl"
    tape.write_text('{"said":"mail ada@example.com","created":1732283456}\n')
    file = save(comparison, tmp_path / "x", cassette=tape)
    (tmp_path / "out").mkdir()
    found = cassette_in(file, tmp_path / "out")
    assert found == tmp_path / "out" / "tape.jsonl"
    assert found.read_text() == '{"said":"mail [e-mail]","created":1732283456}\n'
    assert cassette_in(save(comparison, tmp_path / "y"), tmp_path) is None


def test_the_cassette_of_the_run_travels_along_by_itself(comparison: Comparison, tmp_path: Path) -> None:
    tape = tmp_path / "tape.jsonl"
    tape.write_text("{}\n")
    recorded = replace(comparison, facts=replace(comparison.facts, cassette=str(tape)))
    file = save(recorded, tmp_path / "x")
    assert "cassette/tape.jsonl" in _parts(file)
    assert load(file).facts.cassette == "tape.jsonl"
    tape.unlink()
    assert "cassette/tape.jsonl" not in _parts(save(recorded, tmp_path / "y"))


def test_prices_of_the_day_come_along(saved: Path) -> None:
    prices = json.loads(_parts(saved)["prices.json"])
    assert prices["run"] == "2026-11-01"
    assert prices["usd_per_million_tokens"]["gpt-4o-mini"]["input"] > 0


def test_a_file_is_there_whole_or_not_at_all(comparison: Comparison, saved: Path) -> None:
    before = saved.read_bytes()

    def broken(_: str) -> Conversation:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(replace(comparison, find_conversation=broken), saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["x.convai"]


@pytest.mark.parametrize("path", ["", "   ", "no/such/folder/x.convai", "."])
def test_a_path_that_cannot_be_written_is_refused_in_words(comparison: Comparison, path: str) -> None:
    with pytest.raises(InvalidValueError, match="path"):
        save(comparison, path)


def _parts(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def _rewritten(file: Path, change: Callable[[dict[str, bytes]], None], *, sign: bool = True) -> Path:
    """Change parts of a file as somebody would who knows the format; `sign` makes a fitting manifest."""
    parts = _parts(file)
    change(parts)
    if sign:
        manifest = json.loads(parts.pop("manifest.json"))
        manifest["parts"] = {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in parts.items()
        }
        told = {name: value for name, value in manifest.items() if name != "hash"}
        manifest["hash"] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        parts["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as written:
        for name, data in parts.items():
            written.writestr(name, data)
    return file


def _refused(file: Path, match: str) -> None:
    with pytest.raises(InvalidValueError, match=match) as caught:
        load(file)
    assert len(caught.value._render_traceback_()) == 1
    assert len(str(caught.value)) < 500


def test_what_is_no_saved_comparison_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.convai"
    _refused(file, "there is no such file")
    _refused(tmp_path, "folder")
    for content in (b"", b"hello", b"PK\x03\x04" + b"\0" * 50, b"\0" * 5000):
        file.write_bytes(content)
        _refused(file, "no saved comparison, or it was cut off")
    with zipfile.ZipFile(file, "w") as other:
        other.writestr("word/document.xml", "<x/>")
    _refused(file, "it has no manifest.json")


@pytest.mark.parametrize("given", [None, 123, True, b"x.convai", "", "  ", "a\0b", ["x.convai"], "~nobody.here/x"])
def test_what_is_no_path_is_refused(given: Any) -> None:
    for read in (load, lambda path: cassette_in(path, "."), lambda path: save(invented({"a": {"s": [True]}}), path)):
        with pytest.raises(
            InvalidValueError, match=r"path: (give the path of a file|~nobody\.here/x: there is no such)"
        ):
            read(given)


def test_a_path_that_leads_nowhere_is_refused(saved: Path) -> None:
    _refused(saved / "x", "cannot be read: Not a directory")
    _refused(saved.with_name("x" * 300), "no saved comparison")


def test_the_ending_that_saving_adds_may_be_left_out(comparison: Comparison, tmp_path: Path) -> None:
    comparison.save(tmp_path / "result")
    assert len(load(tmp_path / "result")) == len(comparison)


def test_a_file_cut_off_anywhere_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in range(0, len(whole), 97):
        saved.write_bytes(whole[:length])
        _refused(saved, "x.convai")


def test_a_damaged_file_is_refused_or_means_the_same(comparison: Comparison, saved: Path) -> None:
    whole, chance = saved.read_bytes(), random.Random(7)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        saved.write_bytes(damaged)
        try:
            again = load(saved)
        except InvalidValueError:
            continue
        assert again.trials == comparison.trials


def test_a_part_that_was_changed_is_found_out(saved: Path) -> None:
    def flatter(parts: dict[str, bytes]) -> None:
        parts["trials.jsonl"] = parts["trials.jsonl"].replace(b'"success":false', b'"success":true ')

    _refused(_rewritten(saved, flatter, sign=False), "trials.jsonl was changed after it was saved")


def test_a_manifest_that_was_changed_is_found_out(saved: Path) -> None:
    def edit(parts: dict[str, bytes]) -> None:
        parts["manifest.json"] = parts["manifest.json"].replace(b'"redacted": true', b'"redacted": false')

    _refused(_rewritten(saved, edit, sign=False), "manifest.json was changed")


def test_a_newer_format_says_to_update(saved: Path) -> None:
    def newer(parts: dict[str, bytes]) -> None:
        parts["manifest.json"] = parts["manifest.json"].replace(b'"version": 1', b'"version": 2')

    _refused(_rewritten(saved, newer), "newer convai_lab .* pip install --upgrade")


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "a/../../b", "c:\\x", "extra.txt"])
def test_parts_that_no_comparison_has_are_refused_and_nothing_is_unpacked(saved: Path, name: str) -> None:
    _refused(_rewritten(saved, lambda parts: parts.update({name: b"x"}), sign=False), "which")
    assert [path.name for path in saved.parent.iterdir()] == ["x.convai"]


def test_a_missing_part_is_named(saved: Path) -> None:
    _refused(_rewritten(saved, lambda parts: parts.pop("trials.jsonl") and None, sign=False), "trials.jsonl is missing")
    _refused(_rewritten(saved, lambda parts: parts.pop("variants.json") and None), "no variants.json|is missing")


def test_a_part_that_comes_twice_is_refused(saved: Path) -> None:
    with zipfile.ZipFile(saved, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("trials.jsonl", "x")
    _refused(saved, "which no comparison has")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 20 << 20)
    _refused(_rewritten(saved, lambda parts: parts.update({"trials.jsonl": b"0" * (21 << 20)})), "unpacks to more than")


def test_one_huge_part_is_refused(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES_AT_ONCE", 1 << 20)
    _refused(
        _rewritten(saved, lambda parts: parts.update({"trials.jsonl": b"0" * (2 << 20)})), "unpacks to more than 1"
    )


def test_what_would_be_too_large_to_reopen_is_not_saved(
    comparison: Comparison, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    before = saved.read_bytes()
    with pytest.raises(InvalidValueError, match="larger than can be reopened"):
        save(comparison, saved)
    assert saved.read_bytes() == before


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        ("trials.jsonl", b'"cost_usd":0.002', b'"cost_usd":"x"'),
        ("trials.jsonl", b'"cost_usd":0.002', b'"cost_usd":NaN'),
        ("trials.jsonl", b'"cost_usd":0.002', b'"cost_usd":1e999'),
        ("trials.jsonl", b'"trial":0', b'"trial":-1'),
        ("trials.jsonl", b'"success":true', b'"success":1'),
        ("trials.jsonl", b'"success":true', b'"success":"yes"'),
        ("trials.jsonl", b'"variant":"a"', b'"variant":"z"'),
        ("trials.jsonl", b'"trial":1', b'"trial":0'),
        ("trials.jsonl", b'"checks":[', b'"checks":[3,'),
        ("trials.jsonl", b'"criteria":{', b'"criteria":{"x":3,'),
        ("trials.jsonl", b'"party":"provider"', b'"party":7'),
        ("trials.jsonl", b"{", b"["),
        ("trials.jsonl", b'"key":"', b'"key":"../'),
        ("comparison.json", b'"baseline":"a"', b'"baseline":"z"'),
        ("comparison.json", b'"trials":2', b'"trials":[]'),
        ("comparison.json", b'"mode":"text"', b'"mode":"smell"'),
        ("comparison.json", b'"notes":[', b'"notes":[[1],'),
        ("comparison.json", b"{", b"[" * 100_000 + b"{"),
        ("variants.json", b"[", b'[{"name":3},'),
        ("variants.json", b'"name":"a"', b'"name":"b"'),
        ("scenarios.jsonl", b'"id":"s1"', b'"id":"s0"'),
        ("scenarios.jsonl", b'"opening":', b'"openning":'),
    ],
)
def test_values_that_cannot_be_are_refused_although_the_hashes_fit(
    saved: Path, part: str, old: bytes, new: bytes
) -> None:
    assert old in _parts(saved)[part]
    _refused(_rewritten(saved, lambda parts: parts.update({part: parts[part].replace(old, new)})), "x.convai")


def test_encrypted_parts_are_refused(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as file:
        start = file.start_dir
    data[start + 8] |= 1
    saved.write_bytes(data)
    _refused(saved, "x.convai")
