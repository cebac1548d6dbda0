"""Find judge: which judge is meant by this name?"""

from __future__ import annotations

from collections.abc import Sequence

from convai_lab.clock import Clock, SystemClock
from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.check_fields import shown
from convai_lab.evaluation.judge import AnyJudge, Judge
from convai_lab.evaluation.judge_panel import JudgePanel
from convai_lab.evaluation.offline_judge import NAME, OfflineJudge
from convai_lab.providers.base import LLM

JudgeSpec = str | LLM | AnyJudge | Sequence["str | LLM | AnyJudge"]
"""How a judge may be named: a model's name, ``offline``, a model, a judge, or several of them for a panel."""


def find_judge(spec: JudgeSpec, *, clock: Clock | None = None) -> AnyJudge:
    """Return the judge that is meant: a model by its name, ``offline`` for rules, a list for a panel.

    Example:
        >>> find_judge("offline").name
        'offline'

    Raises:
        InvalidValueError: It is nothing that can judge.
        ModelNotFoundError: No vendor offers a model of that name.
        MissingKeyError: The vendor's key is not set.
    """
    time = clock or SystemClock()
    if isinstance(spec, str):
        return _named(spec, time)
    if isinstance(spec, AnyJudge):
        return spec
    if isinstance(spec, LLM):
        return OfflineJudge() if spec.is_offline else Judge(spec, clock=time)
    if isinstance(spec, Sequence):
        judges = [find_judge(one, clock=time) for one in spec]
        return judges[0] if len(judges) == 1 else JudgePanel(judges)
    raise InvalidValueError(
        f"must be a model's name, 'offline', a judge, or a list of them, got {shown(spec)}", field="judge"
    )


def _named(name: str, clock: Clock) -> AnyJudge:
    from convai_lab.providers.registry import find_llm

    if name.strip().lower() == NAME:
        return OfflineJudge()
    llm = find_llm(name, clock=clock)
    return OfflineJudge() if llm.is_offline else Judge(llm, clock=clock)
