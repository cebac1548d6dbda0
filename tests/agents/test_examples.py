"""The examples in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = ["agent", "prompt", "templates", "tools", "voices", "wire_fields", "wire_seed"]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(f"convai_lab.agents.{name}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0
