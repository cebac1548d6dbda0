"""Scenarios read the same from every source, and their keys change with what may change a result."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from convai_lab.conversations.turn import Turn
from convai_lab.errors import InvalidValueError
from convai_lab.simulation.scenario import Scenario, ScenarioSet, load_scenarios
from convai_lab.simulation.tool_mocks import Mock

ROWS: list[dict[str, Any]] = [
    {
        "id": "late",
        "opening": "Where is my order?",
        "goal": "Learn where it is.",
        "facts": {"order_number": "0123", "time": "19:30"},
        "checks": [{"said": "tomorrow"}, {"called": {"tool": "order_status"}}],
        "max_turns": 6,
        "mocks": {"order_status": [{"when": {"order_id": "0123"}, "result": {"status": "shipped"}}]},
        "tags": ["happy_path", "short"],
    },
    {"id": "open", "opening": "Are you open?"},
]
YAML = """
scenarios:
  - id: late
    opening: Where is my order?
    goal: Learn where it is.
    facts: {order_number: 0123, time: 19:30}
    checks:
      - said: tomorrow
      - called: {tool: order_status}
    max_turns: 6
    mocks:
      order_status:
        - when: {order_id: 0123}
          result: {status: shipped}
    tags: [happy_path, short]
  - {id: open, opening: Are you open?}
"""
CSV = """id,opening,goal,facts.order_number,facts.time,checks,max_turns,mocks,tags
late,Where is my order?,Learn where it is.,0123,19:30,"[{said: tomorrow}, {called: {tool: order_status}}]",6,\
"{order_status: [{when: {order_id: 0123}, result: {status: shipped}}]}",happy_path;short
open,Are you open?,,,,,,,
"""
SAID = {"opening": "Hello"}


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(params=["yaml", "json", "jsonl", "csv", "parquet", "list", "frame", "file_mapping", "set"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    frame = pd.DataFrame(
        [{**{k: v for k, v in row.items() if k != "facts"}, **_flat(row.get("facts", {}))} for row in ROWS]
    )
    match request.param:
        case "yaml":
            return written(tmp_path, "s.yaml", YAML)
        case "json":
            return str(written(tmp_path, "s.json", json.dumps(ROWS)))
        case "jsonl":
            return written(tmp_path, "s.jsonl", "\n\n".join(json.dumps(row) for row in ROWS))
        case "csv":
            return written(tmp_path, "s.csv", CSV)
        case "parquet":
            texts = frame.assign(**{name: frame[name].map(_json) for name in ("checks", "mocks", "tags")})
            texts.drop(columns=["checks", "mocks", "tags"]).to_parquet(tmp_path / "s.parquet")
            return tmp_path / "s.parquet"
        case "list":
            return ROWS
        case "frame":
            return frame
        case "file_mapping":
            return {"scenarios": ROWS}
    return ScenarioSet(tuple(Scenario(**row) for row in ROWS))


def _flat(facts: dict[str, str]) -> dict[str, str]:
    return {f"facts.{name}": value for name, value in facts.items()}


def _json(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def test_every_source_gives_the_same_scenarios(source: Any) -> None:
    late, opened = load_scenarios(source)
    assert late.facts == {"order_number": "0123", "time": "19:30"}
    assert (late.opening, late.goal, late.max_turns) == ("Where is my order?", "Learn where it is.", 6)
    if not str(source).endswith("parquet"):  # which keeps no nested columns of mixed kinds
        assert late == Scenario(**ROWS[0])
        assert late.mocks["order_status"] == (Mock(when={"order_id": "0123"}, result={"status": "shipped"}),)
    assert opened == Scenario(id="open", opening="Are you open?")


def test_a_scenario_survives_being_written_and_pickled() -> None:
    scenario = Scenario(**ROWS[0], persona="hurried", seeds=[1, 2], history=[{"user": "Hi"}], state={"a": {"b": 1}})
    again = load_scenarios([json.loads(json.dumps(scenario.to_dict()))])[0]
    assert again == scenario
    assert again.key == scenario.key == pickle.loads(pickle.dumps(scenario)).key


def test_the_key_follows_what_may_change_a_result_and_nothing_else() -> None:
    scenario = Scenario(**ROWS[0])
    assert Scenario(**{**ROWS[0], "tags": ["other"]}).key == scenario.key
    changed = Scenario(**{**ROWS[0], "checks": [{"said": "today"}]})
    assert changed.key != scenario.key
    assert changed.talk_key == scenario.talk_key
    other_mock = Scenario(**{**ROWS[0], "mocks": {"order_status": {"result": 1}}})
    assert other_mock.talk_key != scenario.talk_key


@pytest.mark.parametrize(
    "more", [{}, {"persona": "hurried", "history": [{"user": "Hé"}], "mocks": {"t": [{"result": {"b": 1, "a": 2}}]}}]
)
def test_the_key_is_that_of_all_fields_as_json_so_that_journals_go_on_counting(more: dict[str, Any]) -> None:
    scenario = Scenario(**{**ROWS[0], **more})
    told = {f.name: getattr(scenario, f.name) for f in fields(Scenario) if f.name != "tags"}
    canonical = json.dumps(told, sort_keys=True, default=asdict)
    assert scenario.key == hashlib.sha256(canonical.encode()).hexdigest()[:20]


def test_texts_are_scenarios_of_one_question_with_names_of_their_own() -> None:
    scenarios = load_scenarios(["Are you open?", "are you OPEN!", "où êtes-vous ?"])
    assert [s.id for s in scenarios] == ["are_you_open", "are_you_open_2", "où_êtes_vous"]
    assert scenarios["are_you_open_2"].opening == "are you OPEN!"


def test_words_and_codes_of_yaml_stay_what_was_written(tmp_path: Path) -> None:
    text = "- {opening: yes, facts: {a: no, b: 007, c: 12:30, d: 2026-05-12, e: 1_000, f: 1.5, h: true}}"
    facts = load_scenarios(written(tmp_path, "s.yml", text))[0].facts
    assert facts == {
        "a": "no",
        "b": "007",
        "c": "12:30",
        "d": "2026-05-12",
        "e": "1_000",
        "f": "1.5",
        "h": "yes",
    }


def test_a_column_of_numbers_with_gaps_tells_whole_numbers() -> None:
    frame = pd.DataFrame({"opening": ["Hello", "Hi"], "facts.order": [1234, None], "max_turns": [4, None]})
    first, second = load_scenarios(frame)
    assert (first.facts, first.max_turns) == ({"order": "1234"}, 4)
    assert (second.facts, second.max_turns) == ({}, 12)


def test_history_is_marked_so_that_nobody_is_judged_by_it() -> None:
    scenario = Scenario(
        opening="And now?", history=[{"user": "Hi"}, {"role": "agent", "text": "Hello"}, Turn(role="user")]
    )
    assert [(t.role, t.text, t.marks) for t in scenario.history[:2]] == [
        ("user", "Hi", ("history",)),
        ("agent", "Hello", ("history",)),
    ]
    assert scenario.history[2].marks == ("history",)


def test_scenarios_get_the_mocks_of_the_agents_tools_unless_they_have_their_own() -> None:
    agent = {"name": "A", "tools": [{"name": "t", "mocks": [{"result": 1}]}, "end_call", {"name": "u"}]}
    own = {"opening": "b", "mocks": {"t": [{"result": 2}]}}
    loaded = load_scenarios({"agent": agent, "scenarios": [{"opening": "a"}, own]})
    assert [s.mocks["t"][0].result for s in loaded] == [1, 2]
    assert loaded.agent is not None
    assert [tool.name for tool in loaded.agent.tools] == ["t", "end_call", "u"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ([{**SAID, "max_turns": 0}], "scenarios, no. 1: scenario 'hello': max_turns: must be a whole number from 1"),
        ([{**SAID, "max_turns": "many"}], "max_turns: must be a whole number"),
        (
            [{"id": "x", **SAID, "opnening": 1}],
            "scenario 'x': opnening: is no field of a scenario; did you mean",
        ),
        ([SAID, {"goal": "g"}], "scenarios, no. 2: a scenario: id: is missing: give it an id"),
        ([{"id": "x", **SAID}, {"id": "x", **SAID}], "no. 2: scenario 'x': id: is also that of no. 1"),
        ([{**SAID, "facts": ["a"]}], "facts: must be a mapping such as"),
        ([{**SAID, "facts": {"a": {"b": 1}}}], "facts.a: must be what the caller would say, as a text"),
        ([{**SAID, "checks": ["tomorrow"]}], "checks[0]: must be a mapping such as said: tomorrow"),
        ([{**SAID, "mocks": {"t": {"reslt": 1}}}], "mocks.t.reslt: is no field of a mock"),
        ([{**SAID, "mocks": {"t": [{"result": 1, "error": "e"}]}}], "mocks.t[0]: needs a `result` or an `error`"),
        ([{**SAID, "mocks": {"t": []}}], "mocks.t: must hold from 1 to 1,000 answers"),
        ([{**SAID, "mocks": ["t"]}], "mocks: must be a mapping from tools to answers"),
        ([{**SAID, "persona": "hurryed"}], "persona: there is none named 'hurryed'; did you mean hurried?"),
        ([{**SAID, "persona": {"name": "n", "speed": 9}}], "persona 'n': speed: must be a number from 0.5 to 2.0"),
        ([{**SAID, "seeds": [1, 1]}], "seeds: names a seed twice"),
        ([{**SAID, "seeds": [-1]}], "seeds: must be whole numbers from 0"),
        ([{**SAID, "history": [{"system": "x"}]}], "history[0]: must be `user: what was said`"),
        ([{**SAID, "language": "English please"}], "language: must be a code such as en"),
        ([{"id": "x", "opening": "a" * 20_001}], "opening: is 20,001 characters long"),
        ([{"id": "x", "opening": ["a"]}], "opening: must be a text, got ['a']: put it in quotes"),
        ([3], "no. 1: must be a mapping such as"),
        ([" "], "no. 1: is empty: write what the caller says first"),
        ([], "holds no scenario"),
        ("Where is my order?", "scenarios: is a text and no file: put openings into a list, such as ['Hello']"),
        (None, "must hold a list of scenarios"),
        ({"scenario": []}, "'scenario' is neither"),
        ({"agent": 3, "scenarios": [SAID]}, "agent: must be a mapping with name, prompt and tools"),
        ({"agent": {"nmae": 1}, "scenarios": [SAID]}, "agent.nmae: is no field of an agent"),
        ({"agent": {"temperature": 99}, "scenarios": [SAID]}, "agent: temperature: must be"),
        ({"agent": {"tools": ["a", {"name": "a"}]}, "scenarios": [SAID]}, "tools[1]: there are two tools named a"),
        ({"agent": {"tools": [{"name": "a", "type": "x"}]}, "scenarios": [SAID]}, "must be client, webhook or system"),
        ({"agent": {"tools": ["a"]}, "scenarios": [{**SAID, "mocks": {"b": {"result": 1}}}]}, "no such tool; it has a"),
    ],
)
def test_what_is_malformed_is_one_sentence_that_names_the_place(source: Any, told: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        load_scenarios(source)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("s.yaml", "a: [", "s.yaml: cannot be read as YAML in line 2"),
        ("s.yaml", "scenarios:\n  - opening: {{x}}", "a value that starts with {{ needs quotes"),
        ("s.yaml", "- {opening: a, opening: b}", "the key 'opening' stands twice in one mapping: remove one"),
        ("s.yaml", "", "s.yaml: must hold a list of scenarios"),
        ("s.yaml", "- opening: !!python/object:os.system x", "cannot be read as YAML"),
        ("s.json", '[{"opening": "a", "opening": "b"}]', "the key 'opening' stands twice in one object"),
        ("s.json", "[{]", "s.json: cannot be read as JSON in line 1, column 3"),
        ("s.json", '[{"opening": NaN}]', "NaN is no JSON"),
        ("s.json", "[" * 100_000, "is nested too deeply"),
        ("s.jsonl", '{"opening": "a"}\n{"opening"', "s.jsonl, line 2: cannot be read as JSON"),
        ("s.jsonl", '{"opening": "a"}\n{"max_turns": 2}', "s.jsonl, line 2: a scenario: id: is missing"),
        ("s.yaml", "scenarios:\n\t- opening: a", "s.yaml: cannot be read as YAML in line 2"),
        ("s.yaml", "scenarios:\n\t- opening: a", "indent with spaces: YAML takes no tabs"),
        ("s.csv", "opening,opening\na,b", "has the column 'opening' twice"),
        ("s.csv", "opening\na,b", "row 1: has 2 cells for 1 columns: put a cell that holds what separates them in"),
        ("s.csv", "opening,checks\na,{", "s.csv, row 1, column checks: cannot be read as YAML"),
        ("s.csv", "opening,max_turns\na,x", "s.csv, row 1: scenario 'a': max_turns: must be a whole number"),
        ("s.csv", 'opening\n"a', "cannot be read as CSV"),
        ("s.txt", "a", "is none of .yaml, .yml, .json, .jsonl, .csv, .parquet"),
        ("s.parquet", "a", "s.parquet: cannot be read as Parquet"),
    ],
)
def test_an_unreadable_file_is_one_sentence_that_names_it(tmp_path: Path, name: str, text: str, told: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        load_scenarios(written(tmp_path, name, text))
    assert told in str(caught.value)


def test_a_spreadsheet_may_separate_its_columns_by_semicolons_or_tabs(tmp_path: Path) -> None:
    for name, text in (
        ("a.csv", 'id;opening\nx;"Hi; and bye, Sam"\n'),
        ("b.csv", "id\topening\nx\tHi; and bye, Sam\n"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert load_scenarios(tmp_path / name)["x"].opening == "Hi; and bye, Sam"
    with pytest.raises(InvalidValueError, match="is a folder: name a file in it"):
        load_scenarios(tmp_path)


def test_a_missing_or_foreign_or_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="there is no such file"):
        load_scenarios(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("- opening: caf\u00e9".encode("latin-1"))
    with pytest.raises(InvalidValueError, match="is not UTF-8"):
        load_scenarios(tmp_path / "latin.yaml")
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(10_000_001)
    with pytest.raises(InvalidValueError, match=r"10,000,001 bytes long.*save it as \.jsonl"):
        load_scenarios(tmp_path / "huge.yaml")


def test_aliases_that_multiply_are_refused_and_not_unfolded(tmp_path: Path) -> None:
    lines = ["- opening: a", "  variables:", "    a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"    a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(InvalidValueError, match="must not hold more than 1,000,000 values"):
        load_scenarios(written(tmp_path, "bomb.yaml", "\n".join(lines)))


def test_ten_thousand_lines_are_read() -> None:
    scenarios = load_scenarios([{"id": f"s{n}", "opening": f"Question {n}?"} for n in range(10_000)])
    assert len(scenarios) == 10_000
    assert scenarios[-1].id == "s9999"
