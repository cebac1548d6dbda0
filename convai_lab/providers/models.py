"""Models: which language models do we know by name, and who offers them?"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple


class ModelInfo(NamedTuple):
    """A model's name and who offers it; `on_platform` says that the vendor platform's cloud takes the name too."""

    name: str
    provider: str
    on_platform: bool = True

    @property
    def is_checkpoint(self) -> bool:
        """Say whether the name is a dated version of another name."""
        return (
            re.search(r"\d{4}-\d{2}-\d{2}$|-\d{2}-\d{2}$|-\d{2}-\d{4}$|@\d{8}$|-\d{8}$|-\d{3,4}$", self.name)
            is not None
        )

    @property
    def is_retired(self) -> bool:
        """Say whether the vendor is known to have switched the model off."""
        return self.name.startswith(_RETIRED)


_OPENAI = """
gpt-5.5 gpt-5.5-2026-04-23 gpt-5.6-sol gpt-5.6-terra gpt-5.6-luna gpt-5.4 gpt-5.4-2026-03-05 gpt-5.4-mini
gpt-5.4-mini-2026-03-17 gpt-5.4-nano gpt-5.4-nano-2026-03-17 gpt-5.2 gpt-5.2-2025-12-11 gpt-5.2-chat-latest gpt-5.1
gpt-5.1-2025-11-13 gpt-5 gpt-5-2025-08-07 gpt-5-mini gpt-5-mini-2025-08-07 gpt-5-nano gpt-5-nano-2025-08-07 gpt-4.1
gpt-4.1-2025-04-14 gpt-4.1-mini gpt-4.1-mini-2025-04-14 gpt-4.1-nano gpt-4.1-nano-2025-04-14 gpt-4o gpt-4o-2024-11-20
gpt-4o-2024-08-06 gpt-4o-2024-05-13 gpt-4o-mini gpt-4o-mini-2024-07-18 gpt-4-turbo gpt-4-turbo-2024-04-09 gpt-4
gpt-4-0613 gpt-4-0314 gpt-3.5-turbo gpt-3.5-turbo-0125 gpt-3.5-turbo-1106
"""
_OPENAI_ELSEWHERE = "o1 o3 o3-mini o4-mini gpt-5-chat-latest chatgpt-4o-latest"

_ANTHROPIC = """
claude-sonnet-5 claude-opus-4-8 claude-opus-4-7 claude-sonnet-4-6 claude-sonnet-4-5 claude-sonnet-4-5@20250929
claude-haiku-4-5 claude-haiku-4-5@20251001 claude-sonnet-4 claude-sonnet-4@20250514 claude-3-7-sonnet
claude-3-7-sonnet@20250219 claude-3-5-sonnet claude-3-5-sonnet-v1 claude-3-5-sonnet@20240620
claude-3-5-sonnet-v2@20241022 claude-3-haiku claude-3-haiku@20240307
"""
_ANTHROPIC_ELSEWHERE = """
claude-opus-4-6 claude-opus-4-5 claude-opus-4-5-20251101 claude-sonnet-4-5-20250929 claude-haiku-4-5-20251001
claude-opus-4-1 claude-3-5-haiku claude-3-5-haiku-latest claude-3-7-sonnet-latest claude-3-5-sonnet-latest
"""

_GOOGLE = """
gemini-3.8-flash gemini-3.7-flash gemini-3.6-flash gemini-3.5-flash gemini-3.5-flash-lite gemini-3.1-pro-preview
gemini-3.1-flash-lite gemini-3.1-flash-lite-preview gemini-3-pro-preview gemini-3-flash-preview gemini-2.5-flash
gemini-2.5-flash-lite gemini-2.5-flash-preview-09-2025 gemini-2.5-flash-lite-preview-09-2025
gemini-2.5-flash-preview-05-20 gemini-2.5-flash-preview-04-17 gemini-2.5-flash-lite-preview-06-17 gemini-2.0-flash
gemini-2.0-flash-001 gemini-2.0-flash-lite gemini-2.0-flash-lite-001 gemini-1.5-pro gemini-1.5-pro-002
gemini-1.5-pro-001 gemini-1.5-flash gemini-1.5-flash-002 gemini-1.5-flash-001
"""
_GOOGLE_ELSEWHERE = "gemini-2.5-pro gemini-flash-latest gemini-pro-latest"

_HOSTED = """
qwen3-4b qwen3-30b-a3b qwen36-35b-a3b qwen35-397b-a17b gpt-oss-20b gpt-oss-120b glm-45-air-fp8 watt-tool-8b
watt-tool-70b grok-beta
"""
"""Names that only the vendor platform's cloud answers to: it hosts these models itself."""

_RETIRED = ("gemini-1.5", "claude-3-5", "claude-3-7", "gpt-4-0314")


@cache
def known_models() -> tuple[ModelInfo, ...]:
    """Return every model known by name, newest first within each provider.

    A name that is missing here may still be used: names are sent to the vendor as they are written.
    """
    table = [
        ("offline", "offline", False),
        ("openai", _OPENAI, True),
        ("openai", _OPENAI_ELSEWHERE, False),
        ("anthropic", _ANTHROPIC, True),
        ("anthropic", _ANTHROPIC_ELSEWHERE, False),
        ("google", _GOOGLE, True),
        ("google", _GOOGLE_ELSEWHERE, False),
        ("elevenlabs", _HOSTED, True),
        ("custom-llm", "custom-llm", True),
    ]
    return tuple(ModelInfo(name, provider, listed) for provider, names, listed in table for name in names.split())


def model_names(provider: str | None = None) -> list[str]:
    """Return the names worth suggesting: of one provider, or of all; retired ones are left out."""
    return [model.name for model in known_models() if provider in (None, model.provider) and not model.is_retired]


def hosted_names() -> frozenset[str]:
    """Return the names that only the vendor platform's cloud answers to."""
    return frozenset(_HOSTED.split())
