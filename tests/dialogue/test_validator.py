"""The validator is loaded without the grammar that takes longer than all the rest, and still knows formats."""

from __future__ import annotations

import subprocess
import sys

import pytest

CHECK = """
import sys
from convai_lab.dialogue.parameters import check_arguments
check_arguments({"type": "object"}, {})
assert "jsonschema" in sys.modules and "rfc3987_syntax" not in sys.modules
import jsonschema
iris = jsonschema.FormatChecker()
print(iris.conforms("https://example.org/b\\u00fc", "iri"), iris.conforms("no iri", "iri"), "lark" in sys.modules)
"""


def test_checking_arguments_loads_no_grammar_until_a_format_needs_it() -> None:
    pytest.importorskip("rfc3987_syntax")
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("True False True", "")
