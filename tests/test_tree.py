"""The tree is readable: short files, the map holds, the public surface is pinned, imports are light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

import convai_lab

ROOT = Path(convai_lab.__file__).parent.parent
PACKAGE = ROOT / "convai_lab"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 400
TOP_LEVEL = {"pyproject.toml", "convai_lab", "notebooks", "tests", "datasets", "README.md", "LICENSE"}
EXEMPT = (
    "agents/templates.py",  # the vendor's own templates, in its own JSON
    "agents/tools.py",  # takes the settings of a system tool in the vendor's shape too
    "conversations/transcript_words.py",  # shows arguments that were no JSON as they came
)
"""Files outside the rooms of the vendor's field names that may name one, each with its reason."""
HEAVY = (
    "pandas",
    "matplotlib",
    "numpy",
    "starlette",
    "uvicorn",
    "httpx",
    "aiohttp",
    "websockets",
    "pydantic",
    "genai_prices",
    "ipywidgets",
    "aiortc",
    "distributed",
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_and_every_public_thing_in_it_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module has no docstring"
    assert not list(_silent_public_things(tree))


def _silent_public_things(tree: ast.Module | ast.ClassDef) -> list[str]:
    silent = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            if not ast.get_docstring(node) and not _is_private_class(tree) and not _is_overload(node):
                silent.append(node.name)
            if isinstance(node, ast.ClassDef):
                silent += _silent_public_things(node)
    return silent


def _is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    return any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list)


def _is_private_class(tree: ast.AST) -> bool:
    return isinstance(tree, ast.ClassDef) and tree.name.startswith("_")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_named_for_nothing(path: Path) -> None:
    assert not {"utils", "helpers", "common", "manager", "misc"} & {*path.with_suffix("").parts}


def test_the_top_level_holds_what_the_design_names_and_nothing_else() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    assert {path.split("/")[0] for path in tracked if not path.startswith(".")} <= TOP_LEVEL


def test_a_folder_imports_only_from_the_lines_below_its_own() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.exists():
        pytest.skip("import-linter is not installed: pip install -e '.[dev]'")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_the_vendors_field_names_stay_in_their_rooms() -> None:
    vendor = re.compile(
        r"[\"'](?:conversation_config|platform_settings|system_tool_type|api_schema|params_as_json)[\"']"
    )
    rooms = ("wire_", "front_matter.py", "elevenlabs.py", "/workspace/", "/server/", "/testing/", *EXEMPT)
    strangers = [
        str(path.relative_to(ROOT))
        for path in MODULES
        if vendor.search(path.read_text(encoding="utf-8")) and not any(room in path.as_posix() for room in rooms)
    ]
    assert strangers == []


def test_the_public_surface_changes_only_on_purpose() -> None:
    assert convai_lab.__all__ == [
        "Agent",
        "AudioFormat",
        "Cassette",
        "ClientTool",
        "Comparison",
        "ConvaiLabError",
        "Conversation",
        "CustomLLM",
        "DataItem",
        "EvaluationCriterion",
        "Judge",
        "JudgePanel",
        "Knowledge",
        "LiveSession",
        "Persona",
        "Recording",
        "Scenario",
        "Sound",
        "SpeechPrices",
        "SystemTool",
        "Turn",
        "TurnTaking",
        "Variant",
        "WebhookTool",
        "Workspace",
        "acompare",
        "agrade",
        "agreement",
        "aprefer",
        "areplay",
        "asimulate",
        "compare",
        "comparison_report",
        "connect",
        "conversation_audio",
        "conversations_df",
        "corrected_rate",
        "grade",
        "keep_conversations",
        "load",
        "load_scenarios",
        "partial_comparison",
        "pass_at_k",
        "pass_hat_k",
        "plot_latency",
        "plot_timeline",
        "plot_waterfall",
        "prefer",
        "read_wav",
        "replay",
        "reprice",
        "sample_conversations",
        "score_audit",
        "simulate",
        "template",
        "tool",
        "tool_calls_df",
        "turns_df",
        "word_errors",
        "write_wav",
    ]


@pytest.mark.parametrize("name", convai_lab.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert (getattr(convai_lab, name).__doc__ or "").strip()


@pytest.mark.parametrize(
    "code",
    [
        "import convai_lab",
        "from IPython.core.interactiveshell import InteractiveShell as S;"
        "before = set(sys.modules); S.instance().run_line_magic('load_ext', 'convai_lab')",
    ],
    ids=["import", "load_ext"],
)
def test_importing_is_light(code: str) -> None:
    check = f"import sys; before = set(); {code}; print([m for m in {HEAVY!r} if m in set(sys.modules) - before])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_what_holds_of_all_values_holds_however_slow_the_machine() -> None:
    assert hypothesis.settings().deadline is None
    assert hypothesis.settings().derandomize, "a run that fails can be run again"
