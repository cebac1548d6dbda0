"""convai_lab: the lab bench for voice agents, in a notebook.

Everything public is listed in `__all__` and imported when it is first used, so that `import convai_lab` is light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "Agent": "convai_lab.agents.agent",
    "AudioFormat": "convai_lab.voice.audio",
    "Cassette": "convai_lab.providers.cassette",
    "ClientTool": "convai_lab.agents.tools",
    "Comparison": "convai_lab.experiments.comparison",
    "ConvaiLabError": "convai_lab.errors",
    "Conversation": "convai_lab.conversations.conversation",
    "CustomLLM": "convai_lab.agents.agent",
    "DataItem": "convai_lab.agents.agent",
    "EvaluationCriterion": "convai_lab.agents.agent",
    "Judge": "convai_lab.evaluation.judge",
    "JudgePanel": "convai_lab.evaluation.judge_panel",
    "Knowledge": "convai_lab.agents.agent",
    "LiveSession": "convai_lab.workspace.live_session",
    "Persona": "convai_lab.simulation.persona",
    "Recording": "convai_lab.voice.recording",
    "Scenario": "convai_lab.simulation.scenario",
    "Sound": "convai_lab.voice.sound",
    "SpeechPrices": "convai_lab.providers.repricing",
    "SystemTool": "convai_lab.agents.tools",
    "Turn": "convai_lab.conversations.turn",
    "TurnTaking": "convai_lab.agents.turn_taking",
    "Variant": "convai_lab.experiments.variant",
    "WebhookTool": "convai_lab.agents.tools",
    "Workspace": "convai_lab.workspace.workspace",
    "acompare": "convai_lab.experiments.comparison",
    "agrade": "convai_lab.evaluation.grading",
    "agreement": "convai_lab.evaluation.calibration",
    "aprefer": "convai_lab.evaluation.grading",
    "areplay": "convai_lab.experiments.replay",
    "asimulate": "convai_lab.experiments.simulating",
    "compare": "convai_lab.experiments.comparison",
    "comparison_report": "convai_lab.experiments.report:write_report",
    "connect": "convai_lab.workspace.connect",
    "conversation_audio": "convai_lab.workspace.recordings",
    "conversations_df": "convai_lab.analysis.dataframes",
    "corrected_rate": "convai_lab.evaluation.calibration",
    "grade": "convai_lab.evaluation.grading",
    "keep_conversations": "convai_lab.experiments.keeping",
    "load": "convai_lab.experiments.bundle",
    "load_scenarios": "convai_lab.simulation.scenario",
    "partial_comparison": "convai_lab.experiments.comparing",
    "pass_at_k": "convai_lab.evaluation.reliability",
    "pass_hat_k": "convai_lab.evaluation.reliability",
    "plot_latency": "convai_lab.analysis.plots",
    "plot_timeline": "convai_lab.analysis.plots",
    "plot_waterfall": "convai_lab.analysis.plots",
    "prefer": "convai_lab.evaluation.grading",
    "read_wav": "convai_lab.voice.wav",
    "replay": "convai_lab.experiments.replay",
    "reprice": "convai_lab.experiments.repricing",
    "sample_conversations": "convai_lab.analysis.samples",
    "score_audit": "convai_lab.evaluation.reliability",
    "simulate": "convai_lab.experiments.simulating",
    "template": "convai_lab.agents.templates:from_template",
    "tool": "convai_lab.agents.tools",
    "tool_calls_df": "convai_lab.analysis.dataframes",
    "turns_df": "convai_lab.analysis.dataframes",
    "word_errors": "convai_lab.evaluation.word_errors",
    "write_wav": "convai_lab.voice.wav",
}
"""Where each public name lives; ``module:name`` where it is called something else there."""

__all__ = [
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

if TYPE_CHECKING:
    from convai_lab.agents.agent import Agent, CustomLLM, DataItem, EvaluationCriterion, Knowledge
    from convai_lab.agents.templates import from_template as template
    from convai_lab.agents.tools import ClientTool, SystemTool, WebhookTool, tool
    from convai_lab.agents.turn_taking import TurnTaking
    from convai_lab.analysis.dataframes import conversations_df, tool_calls_df, turns_df
    from convai_lab.analysis.plots import plot_latency, plot_timeline, plot_waterfall
    from convai_lab.analysis.samples import sample_conversations
    from convai_lab.conversations.conversation import Conversation
    from convai_lab.conversations.turn import Turn
    from convai_lab.errors import ConvaiLabError
    from convai_lab.evaluation.calibration import agreement, corrected_rate
    from convai_lab.evaluation.grading import agrade, aprefer, grade, prefer
    from convai_lab.evaluation.judge import Judge
    from convai_lab.evaluation.judge_panel import JudgePanel
    from convai_lab.evaluation.reliability import pass_at_k, pass_hat_k, score_audit
    from convai_lab.evaluation.word_errors import word_errors
    from convai_lab.experiments.bundle import load
    from convai_lab.experiments.comparing import partial_comparison
    from convai_lab.experiments.comparison import Comparison, acompare, compare
    from convai_lab.experiments.keeping import keep_conversations
    from convai_lab.experiments.replay import areplay, replay
    from convai_lab.experiments.report import write_report as comparison_report
    from convai_lab.experiments.repricing import reprice
    from convai_lab.experiments.simulating import asimulate, simulate
    from convai_lab.experiments.variant import Variant
    from convai_lab.providers.cassette import Cassette
    from convai_lab.providers.repricing import SpeechPrices
    from convai_lab.simulation.persona import Persona
    from convai_lab.simulation.scenario import Scenario, load_scenarios
    from convai_lab.voice.audio import AudioFormat
    from convai_lab.voice.recording import Recording
    from convai_lab.voice.sound import Sound
    from convai_lab.voice.wav import read_wav, write_wav
    from convai_lab.workspace.connect import connect
    from convai_lab.workspace.live_session import LiveSession
    from convai_lab.workspace.recordings import conversation_audio
    from convai_lab.workspace.workspace import Workspace


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'convai_lab' has no attribute {name!r}")
    module, _, inner = _PUBLIC[name].partition(":")
    value = getattr(importlib.import_module(module), inner or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def load_ipython_extension(shell: Any) -> None:
    """Add the magics to an IPython shell: `%load_ext convai_lab`."""
    from convai_lab.notebook.extension import load_ipython_extension as load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics out again: `%unload_ext convai_lab`."""
    from convai_lab.notebook.extension import unload_ipython_extension as unload

    unload(shell)
