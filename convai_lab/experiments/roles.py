"""Roles: who plays the caller and who judges, as it was asked for?

They are described by names first, without a key or a request; the models themselves are found for the first trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from convai_lab.clock import SystemClock
from convai_lab.errors import InvalidValueError, ModelNotFoundError
from convai_lab.experiments.code_mark import content_mark
from convai_lab.experiments.spending import Spending
from convai_lab.experiments.trial_clock import RequestClock
from convai_lab.experiments.variant import OFFLINE
from convai_lab.providers.base import LLM
from convai_lab.providers.registry import parse_model
from convai_lab.simulation.simulated_user import Move, SimulatedUser, find_user

if TYPE_CHECKING:
    from convai_lab.conversations.conversation import Conversation
    from convai_lab.evaluation.judge import AnyJudge, Grade, Questions
    from convai_lab.simulation.scenario import Scenario

SCRIPTED = "scripted"


@dataclass(unsafe_hash=True)
class ModelRef:
    """A model by its name, as a plan needs it; it cannot be asked."""

    provider: str
    model: str
    is_offline: bool

    def stream(self, request: Any) -> Any:
        """Refuse: this is only a name."""
        raise NotImplementedError(f"{self.model} is only a name here")


def model_ref(model: str, role: str = "llm") -> ModelRef:
    """Return a model by its name; `role` is what an error says it was asked for.

    Raises:
        ModelNotFoundError: No known vendor offers it; carries suggestions.
    """
    try:
        name = parse_model(model)
    except ModelNotFoundError as error:
        told = ModelNotFoundError(f"{error}".removeprefix(f"{error.provider}: "), provider=role, model=model)
        told.suggestions = error.suggestions
        raise told from None
    return ModelRef(name.provider, name.model, name.provider == OFFLINE)


@dataclass(frozen=True)
class UserSpec:
    """The simulated user that was asked for: rules, a script, a model, or an object of somebody's own."""

    given: Any = None

    @property
    def llm(self) -> LLM | None:
        """The model that plays the user, when it is one."""
        if isinstance(self.given, str) and self.given not in (OFFLINE, SCRIPTED):
            return model_ref(self.given, "simulated_user")
        if isinstance(self.given, LLM):
            return self.given
        inner = getattr(self.given, "llm", None)
        return inner if isinstance(inner, LLM) else None

    @property
    def is_real(self) -> bool:
        """Say whether it may do real things, such as asking a vendor."""
        if self.given is None or isinstance(self.given, str | list | tuple):
            return self.llm is not None and not self.llm.is_offline
        return getattr(self.given, "name", "") not in (OFFLINE, SCRIPTED)

    @property
    def is_model(self) -> bool:
        """Say whether a model plays it as we know it, by name or not, and not somebody's own object."""
        from convai_lab.simulation.llm_user import LLMUser

        return self.llm is not None and isinstance(self.given, str | LLM | LLMUser)

    @property
    def name(self) -> str:
        """What tables call it."""
        if (llm := self.llm) is not None:
            return f"{llm.provider}/{llm.model}"
        if isinstance(self.given, list | tuple):
            return SCRIPTED
        return str(self.given or OFFLINE) if isinstance(self.given, str | None) else str(self.given.name)

    @property
    def mark(self) -> Any:
        """What tells it from others, as JSON."""
        if isinstance(self.given, list | tuple):
            return [SCRIPTED, *map(str, self.given)]
        return [self.name, *map(content_mark, self.own)] if self.own else self.name

    @property
    def own(self) -> tuple[Any, ...]:
        """The object that plays the caller, where it is neither a name nor a model."""
        return (self.given,) if hasattr(self.given, "next_move") else ()

    def make(self, seed: int, pooled: Callable[[LLM], LLM], spending: Spending | None = None) -> SimulatedUser:
        """Return the user itself; its model waits for its turn, and what it costs is counted.

        Raises:
            InvalidValueError: It is none.
        """
        from convai_lab.simulation.llm_user import LLMUser

        if isinstance(self.given, LLMUser):
            return replace(self.given, llm=pooled(self.given.llm))
        if self.is_model:
            assert self.llm is not None
            return find_user(pooled(self.llm), seed=seed)
        user = find_user(self.given, seed=seed)
        return CountedUser(user, spending) if self.is_real and spending is not None else user


@dataclass(frozen=True)
class CountedUser:
    """Somebody's own simulated user, whose moves count for what they say that they cost."""

    user: SimulatedUser
    spending: Spending

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.user.name

    async def next_move(self, conversation: Conversation, scenario: Scenario) -> Move:
        """Return what the user does after the last turn."""
        move = await self.user.next_move(conversation, scenario)
        self.spending.add_usd(move.cost_usd or 0.0)
        return move


@dataclass(frozen=True)
class JudgeSpec:
    """The judge that was asked for: none, ``offline``, a model, several (a panel), or a judge of somebody's own."""

    given: Any = None

    def __post_init__(self) -> None:
        for one in self._listed():
            if not isinstance(one, str | LLM) and not hasattr(one, "answer"):
                raise InvalidValueError(
                    f"must be a model's name, a model, a Judge or a list of them, got {type(one).__name__}",
                    field="judge",
                )
            self._llm(one)  # says early that there is no such model

    @property
    def llms(self) -> tuple[LLM, ...]:
        """The models that judge."""
        found = (self._llm(one) for one in _alone(self._listed()))
        return tuple(llm for llm in found if llm is not None and not llm.is_offline)

    @property
    def name(self) -> str | None:
        """What a reader is told; None without a judge."""
        return ", ".join(map(_judge_name, self._listed())) or None

    @property
    def mark(self) -> Any:
        """What tells it from others, as JSON."""
        return [
            [_judge_name(one), getattr(one, "asking", ""), getattr(one, "seed", None), *map(content_mark, _own(one))]
            for one in _alone(self._listed())
        ]

    @property
    def own(self) -> tuple[Any, ...]:
        """The judges that are neither names nor models."""
        return tuple(own for one in _alone(self._listed()) for own in _own(one))

    def make(self, pooled: Callable[[LLM], LLM], spending: Spending | None = None) -> AnyJudge | None:
        """Return the judge itself, or None; its models wait for their turn, and what it costs is counted."""
        from convai_lab.evaluation.judge_panel import JudgePanel

        judges = [_judge(one, pooled, spending) for one in _alone(self._listed())]
        if len(judges) > 1:
            return JudgePanel(judges)
        return judges[0] if judges else None

    def _listed(self) -> tuple[Any, ...]:
        if self.given is None:
            return ()
        return tuple(self.given) if isinstance(self.given, list | tuple) else (self.given,)

    @staticmethod
    def _llm(one: Any) -> LLM | None:
        if isinstance(one, str):
            return None if one == OFFLINE else model_ref(one, "judge")
        inner = one if isinstance(one, LLM) else getattr(one, "llm", None)
        return inner if isinstance(inner, LLM) else None


@dataclass(frozen=True)
class CountedJudge:
    """Somebody's own judge, whose answers count for what they say that they cost."""

    judge: AnyJudge
    spending: Spending

    @property
    def name(self) -> str:
        """What tables call it."""
        return _judge_name(self.judge)

    @property
    def is_offline(self) -> bool:
        """Say whether rules judge."""
        return self.judge.is_offline

    async def answer(self, conversation: Conversation, questions: Questions) -> Grade:
        """Return what the judge found."""
        self.spending.require_left()
        grade = await self.judge.answer(conversation, questions)
        self.spending.add_usd(grade.cost_usd or 0.0)
        return grade


def _alone(judges: Iterable[Any]) -> Iterator[Any]:
    """Yield every judge by itself; those of a panel vote in one panel with all others."""
    for one in judges:
        inner = getattr(one, "judges", None)
        if isinstance(inner, tuple):
            yield from _alone(inner)
        else:
            yield one


def _own(one: Any) -> tuple[Any, ...]:
    return () if isinstance(one, str | LLM) else (one,)


def _judge(one: Any, pooled: Callable[[LLM], LLM], spending: Spending | None) -> AnyJudge:
    from convai_lab.evaluation.judge import Judge
    from convai_lab.evaluation.offline_judge import OfflineJudge

    if one == OFFLINE:
        return OfflineJudge()
    if isinstance(one, Judge):
        clock = RequestClock() if type(one.clock) is SystemClock else one.clock
        return replace(one, llm=pooled(one.llm), clock=clock)
    if isinstance(one, str | LLM):
        return Judge(pooled(model_ref(one) if isinstance(one, str) else one), clock=RequestClock())
    judge: AnyJudge = one
    return judge if spending is None else CountedJudge(judge, spending)


def _judge_name(one: Any) -> str:
    if isinstance(one, str):
        return OFFLINE if one == OFFLINE else "/".join(parse_model(one))
    if isinstance(one, LLM):
        return f"{one.provider}/{one.model}"
    return str(getattr(one, "name", type(one).__name__))
