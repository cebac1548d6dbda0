"""Repeatable: does the same comparison by rules give the same bytes in another process?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from convai_lab import settings

PROGRAM = """
import sys
from convai_lab.agents.agent import Agent
from convai_lab.experiments.comparison import compare

prompt = "# Knowledge\\n- We open at nine.\\n- Delivery takes three days.\\nQ: How can I pay?\\nA: By card or in cash."
agent = Agent(name="Support", prompt=prompt)
cases = [
    {"id": "open", "opening": "When do you open?", "checks": [{"said": "nine"}], "persona": "confused"},
    {"id": "pay", "opening": "How can I pay?", "checks": [{"said": "card"}], "facts": {"city": "York", "name": "Ada"}},
    {"id": "none", "opening": "Is it cold on Mars?", "checks": [{"said": "cold"}], "tags": ["b", "a"]},
]
for mode in ("text", "voice"):
    both = {"a": agent, "b": agent.with_changes(first_message="Yes?")}
    result = compare(both, cases, trials=2, seed=7, mode=mode, judge="offline", progress=False)
    print(result.df.to_csv(), result.leaderboard().to_csv(), result.differences().to_csv(), result.verdict)
    print([repr(result.conversation(*trial.id).to_dict()) for trial in result])
"""


def told_by_a_process(hash_seed: str, home: Path) -> str:
    home.mkdir()
    environ = {**os.environ, "PYTHONHASHSEED": hash_seed, settings.HOME_VARIABLE: str(home)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("seeds", [("0", "4711")])
def test_two_processes_find_the_same_byte_for_byte(tmp_path: Path, seeds: tuple[str, str]) -> None:
    first, second = (told_by_a_process(seed, tmp_path / seed) for seed in seeds)
    assert first == second
    assert first.count("Support") > 20
