"""The `convai` command, typed as a person would, wrong ways too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from convai_lab.cli.lab import quickstart

CONVAI = [sys.executable, "-c", "from convai_lab.cli.main import main; main()"]


def _convai(*arguments: str, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CONVAI, *arguments], input=stdin, capture_output=True, text=True, check=False, cwd=cwd, timeout=60
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo")
    home = str(folder / "home")
    done = subprocess.run(
        [*CONVAI, "demo", "--out", str(folder / "out")],
        env={**os.environ, "CONVAI_LAB_HOME": home, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_demo_authors_talks_tabulates_and_reports(demo: tuple[Path, str]) -> None:
    folder, said = demo
    assert "order_status" in said
    assert "offline rules, not a language model" in said
    left = {path.name for path in (folder / "out").iterdir()}
    assert left >= {"report.html", "turns.parquet", "latency.png"}
    assert left >= {"comparison.html", "comparison_differences.png", "comparison_flips.png", "comparison.convai"}
    assert str((folder / "out" / "report.html").resolve()) in said


def test_the_demo_talks_by_voice_and_compares_two_variants(demo: tuple[Path, str]) -> None:
    folder, said = demo
    assert "where is my order one two three four" in said
    assert "house rules beats no rules by 58 points" in said
    assert "<script" not in (folder / "out" / "comparison.html").read_text(encoding="utf-8")


def test_the_report_of_the_demo_stands_alone(demo: tuple[Path, str]) -> None:
    page = (demo[0] / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert 'src="http' not in page
    assert page.count("<img") == page.count('alt="') >= 2
    assert len(pd.read_parquet(demo[0] / "out" / "turns.parquet")) > 10


def test_what_the_demo_left_is_found_by_the_other_commands(
    demo: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CONVAI_LAB_HOME", str(demo[0] / "home"))
    assert "demo" in _convai("agents", "list").stdout
    assert json.loads(_convai("agents", "list", "--json").stdout)[0]["name"] == "demo"
    assert "order_status" in _convai("agents", "show", "demo").stdout
    assert "Where is my order 1234?" in _convai("transcripts", "--agent", "demo").stdout
    said = _convai("transcripts", "--since", "1d", "--out", "turns.csv", cwd=tmp_path)
    assert "3 conversations" in said.stdout
    assert "non-existent" in _convai("transcripts", "--out", "nowhere/turns.csv", cwd=tmp_path).stderr
    assert "role" in (tmp_path / "turns.csv").read_text(encoding="utf-8").splitlines()[0]
    talk = _convai("chat", "demo", "--var", "name=Bo", "--json", stdin="Hello\n")
    assert json.loads(talk.stdout)["transcript"]
    assert "Deleted" in _convai("agents", "delete", "demo", "--yes").stdout
    assert _convai("agents", "show", "demo").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["agnts"], 2, "Did you mean agents"),
        (["chat"], 2, "Missing argument 'AGENT'"),
        (["chat", "nobody", "Hello"], 1, "nobody"),
        (["chat", "nobody", "Hello", "--var", "x"], 1, "--var: takes NAME=VALUE"),
        (["agents", "show", "nobody"], 1, "nobody"),
        (["agents", "list", "--platform", "mars"], 1, "mars"),
        (["agents", "list", "--platform", "elevenlabs"], 1, "ELEVENLABS_API_KEY"),
        (["agents", "list", "--platform", "http://127.0.0.1:9"], 1, "CONVAI_API_KEY"),
        (["transcripts", "--out", "turns.xls"], 1, "--out: must end in"),
        (["demo", "--out", "/dev/null/report"], 1, "--out: cannot write into /dev/null/report: Not a directory"),
        (["transcripts", "--since", "yesterdayish"], 1, "since"),
        (["transcripts", "--limit", "0"], 2, "--limit"),
        (["transcripts", "--id", "conv_nothing"], 1, "conv_nothing"),
        (["serve", "--port", "70000"], 2, "--port"),
        (["lab", "--port", "x"], 2, "--port"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_a_status(arguments: list[str], status: int, said: str) -> None:
    done = _convai(*arguments)
    assert done.returncode == status
    assert said in done.stderr
    assert not done.stdout, "it began what it could not end"
    assert "Traceback" not in done.stderr


def test_help_is_there_for_every_command() -> None:
    from convai_lab.cli.main import PARTS, convai

    overview = _convai("--help").stdout
    assert all(name in overview for name in PARTS)
    for name in PARTS:
        done = CliRunner().invoke(convai, [name, "--help"], prog_name="convai")
        assert done.exit_code == 0
        assert f"Usage: convai {name}" in done.stdout


def test_the_doctor_finds_a_machine_that_works(tmp_path: Path) -> None:
    done = _convai("doctor")
    assert done.returncode == 0, done.stdout
    assert "Python" in done.stdout
    assert "local platform" in done.stdout
    assert "--llm offline" in done.stdout


def test_the_doctor_says_what_to_do_when_nothing_can_be_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    monkeypatch.setenv("CONVAI_LAB_HOME", str(tmp_path / "file" / "x"))
    done = _convai("doctor")
    assert done.returncode == 1
    assert "PROBLEM" in done.stdout
    assert "CONVAI_LAB_HOME" in done.stdout


def test_the_quickstart_is_the_one_of_the_checkout(tmp_path: Path) -> None:
    assert quickstart(tmp_path).name == "01_quickstart.ipynb"
    assert quickstart(tmp_path).exists()
