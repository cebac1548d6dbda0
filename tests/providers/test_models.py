"""The table of model names is what the platform lists, and worth suggesting from."""

from __future__ import annotations

import pytest

from convai_lab.providers.models import ModelInfo, known_models, model_names


def test_names_are_unique_and_the_platform_has_98_of_them() -> None:
    names = [model.name for model in known_models()]
    assert len(set(names)) == len(names)
    assert sum(model.on_platform for model in known_models()) == 98


@pytest.mark.parametrize(
    ("name", "dated"),
    [
        ("gpt-4o", False),
        ("gpt-4o-2024-08-06", True),
        ("claude-sonnet-4@20250514", True),
        ("claude-opus-4-7", False),
        ("gemini-2.0-flash-001", True),
        ("gemini-2.5-flash-preview-05-20", True),
        ("gpt-4-0613", True),
        ("gpt-oss-120b", False),
    ],
)
def test_dated_versions_are_told_from_the_names_that_move(name: str, dated: bool) -> None:
    assert ModelInfo(name, "x").is_checkpoint is dated


def test_retired_models_are_known_but_not_suggested() -> None:
    assert "gemini-1.5-pro" in {model.name for model in known_models()}
    assert "gemini-1.5-pro" not in model_names("google")
    assert "gpt-4o" in model_names("openai")
    assert model_names("ollama") == []
