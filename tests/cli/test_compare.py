"""`convai compare`: in a terminal, and as a gate of a build."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from convai_lab.cli.compare import Gates, broken_gates
from convai_lab.cli.main import main
from convai_lab.experiments.bundle import load
from convai_lab.experiments.comparison import Comparison, compare
from convai_lab.experiments.exports import comparison_json, comparison_junit
from convai_lab.testing.fake_vendors import fake_openai
from convai_lab.testing.vendor_script import Hang

from ..experiments.conftest import invented

KNOWS = {"name": "Sam", "prompt": "You are Sam. We are open from nine to five.", "llm": "offline"}
CASES = [
    {"id": "hours", "opening": "When are you open?", "checks": [{"said": "nine"}]},
    {"id": "order", "opening": "Where is my order 1234?", "checks": [{"said": "shipped"}]},
]
HOSTILE = "]]>\x00\x1b[31m\ud800\ufffe<script>&\"' 'ü"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "knows.json").write_text(json.dumps(KNOWS), encoding="utf-8")
    (tmp_path / "mute.yaml").write_text("agent: {name: Mute, prompt: You are shy., llm: offline}", encoding="utf-8")
    (tmp_path / "cases.json").write_text(json.dumps(CASES), encoding="utf-8")
    many = [{**CASES[0], "id": f"s{number}"} for number in range(12)]
    (tmp_path / "many.json").write_text(json.dumps(many), encoding="utf-8")
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *arguments])
    return int(ended.value.code or 0)


def test_the_table_is_printed_and_no_progress_where_nobody_looks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("@knows.json", "@mute.yaml", "--scenarios", "cases.json", "--trials", "2") == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "Sam" in said.out
    assert "Mute" in said.out
    assert "8 of 8 done" in said.out
    assert "offline rules, not a language model" in said.out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("@knows.json", "--scenarios", "cases.json", "--fail-under", "0.5"), 0, ""),
        (("@knows.json", "--scenarios", "cases.json", "--fail-under", "0.6"), 1, "Sam succeeds in 50.0%, less than"),
        (("@knows.json", "@mute.yaml", "--scenarios", "many.json", "--fail-if-worse"), 1, "Mute is worse than Sam"),
        (("@mute.yaml", "@knows.json", "--scenarios", "many.json", "--fail-if-worse"), 0, ""),
        (("@knows.json", "--scenarios", "many.json", "--fail-if-worse"), 1, "needs two variants"),
    ],
)
def test_a_gate_decides_the_exit_status(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert run(*arguments) == code
    told = capsys.readouterr().err
    assert (said in told) if said else not told


def test_what_was_not_graded_passes_no_gate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bare.json").write_text('["When are you open?"]', encoding="utf-8")
    assert run("@knows.json", "--scenarios", "bare.json", "--fail-under", "0") == 1
    assert "no trial of Sam was graded" in capsys.readouterr().err


def test_a_gate_is_not_passed_by_trials_that_a_vendor_lost() -> None:
    def run_of(lost: int) -> Comparison:
        return invented({"Sam": {f"s{n}": ["provider" if n < lost else True] for n in range(100)}})

    assert broken_gates(run_of(99), Gates(fail_under=0.9)) == [
        "too few trials of Sam could be graded to know that it succeeds in 90.0% (lost: 99 by provider)"
    ]
    assert broken_gates(run_of(10), Gates(fail_under=0.9)) == [], "it succeeds in 90% even if the ten had failed"


def test_programs_can_read_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = ("--junit", "j.xml", "--json", "r.json", "--html", "r.html", "--save", "r.convai")
    assert run("@knows.json", "@mute.yaml", "--scenarios", "cases.json", *outputs) == 0
    suites = ET.parse(folder / "j.xml").getroot()
    assert [(s.get("name"), s.get("tests"), s.get("failures")) for s in suites] == [
        ("Sam", "2", "1"),
        ("Mute", "2", "2"),
    ]
    failed = suites.find("testsuite/testcase[@name='order']/failure")
    assert failed is not None
    assert "shipped" in str(failed.get("message"))
    assert "Where is my order 1234?" in str(failed.text)
    document = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    assert [trial["success"] for trial in document["trials"]] == [True, False, False, False]
    assert document["differences"][0]["variant"] == "Mute"
    assert "NaN" not in (folder / "r.json").read_text(encoding="utf-8")
    assert "<script" not in (folder / "r.html").read_text(encoding="utf-8")
    assert len(load(folder / "r.convai")) == 4
    capsys.readouterr()
    assert run("@knows.json", "--scenarios", "cases.json", "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["variants"] == ["Sam"]


def test_junit_and_json_hold_whatever_callers_say(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_openai(lambda received: f"{HOSTILE[:3]}\x00\x1b <b>]]>") as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        opening = HOSTILE.replace("\ud800", "")
        case: dict[str, Any] = {"id": opening, "opening": opening, "checks": [{"said": opening}], "max_turns": 2}
        found: Any = compare(
            [{"llm": "gpt-4o-mini"}], {"agent": {"name": HOSTILE[:3]}, "scenarios": [case]}, progress=False
        )
    root = ET.fromstring(comparison_junit(found))
    assert root.findtext("testsuite/testcase/failure")
    assert json.loads(json.dumps(comparison_json(found), allow_nan=False))["scenarios"] == [found.scenarios[0].id]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--scenarios", "cases.json"), 2, "name at least one AGENT"),
        (("@knows.json",), 2, "Missing option '--scenarios'"),
        (("@knows.json", "--scenarios", "cases.json", "--trials", "0"), 2, "--trials"),
        (("@knows.json", "--scenarios", "cases.json", "--fail-under", "80"), 2, "--fail-under"),
        (("@knows.json", "--scenarios", "cases.json", "--mode", "song"), 2, "--mode"),
        (("@knows.json", "--scenarios", "cases.json", "--max-cost", "cheap"), 2, "--max-cost"),
        (("@knows.json", "--scenarios", "cases.json", "--max-cost", "-1"), 1, "max_cost"),
        (("@knows.json", "--scenarios", "nowhere.yaml"), 1, "there is no such file"),
        (("@nowhere.json", "--scenarios", "cases.json"), 1, "there is no such file"),
        (("@cases.json", "--scenarios", "cases.json"), 1, "must be a mapping with name"),
        (("@knows.json", "@knows.json", "--scenarios", "cases.json"), 1, "named twice"),
        (("@knows.json", "--llm", "gpt-4o-mini", "--scenarios", "cases.json"), 1, "OPENAI_API_KEY"),
        (("@knows.json", "--llm", "gtp-4o", "--scenarios", "cases.json"), 1, "gtp-4o"),
        (("@knows.json", "--llm", "offline,gpt-4o-mini", "--scenarios", "cases.json"), 1, "--allow-offline"),
        (("@knows.json", "--scenarios", "cases.json", "--junit", "no/j.xml"), 1, "--junit: cannot write no/j.xml"),
        (("@knows.json", "--scenarios", "cases.json", "--baseline", "B"), 1, "no variant; they are Sam"),
        (("--llm", "offline", "--scenarios", "cases.json"), 1, "the scenarios bring none"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_begins_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert run(*arguments) == code
    told = capsys.readouterr()
    assert said in told.err
    assert not told.out


def test_a_variable_of_the_prompt_is_given_or_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "greets.json").write_text(json.dumps({**KNOWS, "first_message": "Hi {{name}}"}), encoding="utf-8")
    assert run("@greets.json", "--scenarios", "cases.json") == 1
    assert "--var name=" in capsys.readouterr().err
    assert run("@greets.json", "--scenarios", "cases.json", "--var", "name") == 1
    assert "NAME=VALUE" in capsys.readouterr().err
    assert run("@greets.json", "--scenarios", "cases.json", "--var", "name=Ada") == 0


def test_a_dry_run_needs_no_key_and_says_what_it_would_cost(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("@knows.json", "--llm", "gpt-4o-mini,gpt-4o", "--scenarios", "cases.json", "--dry-run") == 0
    assert "4 trials" in capsys.readouterr().out


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(folder: Path) -> None:
    command = [sys.executable, "-c", "from convai_lab.cli.main import main; main()", "compare", "@knows.json"]
    command += ["--llm", "gpt-4o-mini", "--scenarios", "many.json", "--concurrency", "1", "--json", "r.json"]
    answers = iter(range(1000))
    with fake_openai(lambda received: "At nine." if next(answers) < 9 else Hang()) as server:
        environment = {**os.environ, **server.settings}
        running = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        until = time.monotonic() + 30
        while len(server.requests) < 10 and time.monotonic() < until and running.poll() is None:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert running.returncode == 130, err
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    done = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    assert done["facts"]["stopped"] == "interrupted"
    assert 0 < len(done["trials"]) < 12
    assert f"{len(done['trials'])} of 12" in out
