"""Lineup: who asks which models in a comparison: the agents, the simulated user and the judge?

What was asked for is described first, without a key or a request, so that a plan, an estimate and whatever is in the
journal already need none. The models themselves are found when the first trial is held.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from convai_lab import settings
from convai_lab.agents.agent import Agent, CustomLLM
from convai_lab.clock import SystemClock
from convai_lab.errors import InvalidValueError, ModelNotFoundError
from convai_lab.experiments.outside import WORLD_CLOCK
from convai_lab.experiments.pool import Pool, PooledLLM
from convai_lab.experiments.preflight import Asked
from convai_lab.experiments.runner import PLATFORM
from convai_lab.experiments.spending import Spending
from convai_lab.experiments.trial_clock import TRIAL_CLOCK
from convai_lab.experiments.variant import OFFLINE, Variant
from convai_lab.providers.base import LLM
from convai_lab.providers.cassette import Cassette
from convai_lab.providers.registry import VENDORS, find_live_llm, parse_model
from convai_lab.providers.retry import NO_RETRIES
from convai_lab.simulation.simulated_user import Move, SimulatedUser, find_user

if TYPE_CHECKING:
    from convai_lab.conversations.conversation import Conversation
    from convai_lab.evaluation.judge import AnyJudge
    from convai_lab.simulation.scenario import Scenario

SCRIPTED = "scripted"
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where an object lies in memory, which says nothing about it and is different in every process."""


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


def found_llm(model: str, custom: CustomLLM | None = None) -> LLM:
    """Return a model that asks each request once: who asks again, and when, is for the pool to decide."""
    return find_live_llm(model, custom=custom, retry=NO_RETRIES)


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
        return (
            [
                self.name,
                type(self.given).__qualname__,
                _ADDRESS.sub("", repr(getattr(self.given, "__dict__", "")))[:2000],
            ]
            if (hasattr(self.given, "next_move"))
            else self.name
        )

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
        judges = _alone(self._listed())
        return [[_judge_name(one), getattr(one, "asking", ""), getattr(one, "seed", None)] for one in judges]

    def make(self, pooled: Callable[[LLM], LLM]) -> AnyJudge | None:
        """Return the judge itself, or None; its models wait for their turn and are counted."""
        from convai_lab.evaluation.judge_panel import JudgePanel

        judges = [_judge(one, pooled) for one in _alone(self._listed())]
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
class Lineup:
    """Everybody who takes part in a comparison, by name."""

    variants: tuple[Variant, ...]
    user: UserSpec
    judge: JudgeSpec
    refs: Mapping[str, LLM]
    """The models of the variants that run here, by the variant's name."""

    def lane(self, variant: Variant) -> str:
        """Return which vendor a variant's conversations wait for."""
        return f"{PLATFORM}{variant.platform}" if variant.is_remote else self.refs[variant.name].provider

    @property
    def offline(self) -> tuple[str, ...]:
        """The variants that speak by rules."""
        return tuple(name for name, llm in self.refs.items() if llm.is_offline)

    @property
    def helpers(self) -> tuple[LLM, ...]:
        """The models that are asked besides the agents': the simulated user's and the judges'."""
        return (*self.judge.llms, *((self.user.llm,) if self.user.llm is not None else ()))

    def conditions(self, mode: str) -> dict[str, Any]:
        """Return what matters to every trial besides its variant, scenario and seed."""
        models = [*self.refs.values(), *self.helpers]
        return {
            "mode": mode,
            "user": self.user.mark,
            "judge": self.judge.mark,
            "elsewhere": {llm.provider: url for llm in models if (url := _moved_to(llm.provider))},
        }

    def asked(self, llms: Mapping[str, LLM]) -> list[Asked]:
        """Return the models to ask once before the run."""
        asked = [Asked(llm, f"variant {name}") for name, llm in llms.items()]
        helpers = [(llm, "the judge") for llm in self.judge.llms]
        if self.user.llm is not None:
            helpers.append((self.user.llm, "the simulated user"))
        return asked + [Asked(real(llm), role) for llm, role in helpers if not llm.is_offline]


def make_lineup(variants: Sequence[Variant], user: Any, judge: Any) -> Lineup:
    """Return everybody who takes part.

    Raises:
        ModelNotFoundError: There is no such model.
        InvalidValueError: The user or the judge is none.
    """
    refs = {variant.name: _ref_of(variant) for variant in variants if not variant.is_remote}
    lineup = Lineup(tuple(variants), UserSpec(user), JudgeSpec(judge), refs)
    lineup.user.make(0, lambda llm: llm)  # says early what is wrong with it
    return lineup


def find_llms(variants: Sequence[Variant]) -> dict[str, LLM]:
    """Return the models of the variants that run here, ready to stream; equal ones share one.

    Raises:
        MissingKeyError: A key is not set; names the variable.
    """
    shared: dict[Any, LLM] = {}
    found: dict[str, LLM] = {}
    for variant in variants:
        if not variant.is_remote:
            slot = (variant.model, repr(variant.agent.custom_llm))
            if slot not in shared:
                shared[slot] = found_llm(variant.model, variant.agent.custom_llm)
            found[variant.name] = shared[slot]
    return found


def real(llm: LLM) -> LLM:
    """Return a model that can be asked, of one that may be a name."""
    return found_llm(f"{llm.provider}/{llm.model}") if isinstance(llm, ModelRef) else llm


def pooling(pool: Pool, spending: Spending, cassette: Cassette | None = None) -> Callable[[LLM], LLM]:
    """Return a function that lets a model wait for its turn and counts what it spends; a name becomes its model.

    What a cassette replays does not wait, costs nothing, and needs no key.
    """

    def pooled(llm: LLM) -> LLM:
        if llm.is_offline:
            return llm
        if cassette is not None and cassette.mode == "replay":
            return cassette.llm(llm)
        asked = PooledLLM(real(llm), pool.gate(llm), spending)
        return asked if cassette is None else cassette.llm(asked, now=_trial_now)

    return pooled


def _ref_of(variant: Variant) -> LLM:
    agent: Agent = variant.agent
    if agent.custom_llm is not None and variant.model == "custom-llm":
        return ModelRef("custom-llm", agent.custom_llm.model or variant.model, is_offline=False)
    return model_ref(variant.model)


def _alone(judges: Iterable[Any]) -> Iterator[Any]:
    """Yield every judge by itself; those of a panel vote in one panel with all others."""
    for one in judges:
        inner = getattr(one, "judges", None)
        if isinstance(inner, tuple):
            yield from _alone(inner)
        else:
            yield one


def _judge(one: Any, pooled: Callable[[LLM], LLM]) -> AnyJudge:
    from convai_lab.evaluation.judge import Judge
    from convai_lab.evaluation.offline_judge import OfflineJudge

    if one == OFFLINE:
        return OfflineJudge()
    if isinstance(one, Judge):
        return replace(one, llm=pooled(one.llm))
    if isinstance(one, str | LLM):
        return Judge(pooled(model_ref(one) if isinstance(one, str) else one))
    judge: AnyJudge = one
    return judge


def _judge_name(one: Any) -> str:
    if isinstance(one, str):
        return OFFLINE if one == OFFLINE else "/".join(parse_model(one))
    if isinstance(one, LLM):
        return f"{one.provider}/{one.model}"
    return str(getattr(one, "name", type(one).__name__))


def _trial_now() -> float:
    """Return the time of the trial that is being held, in which waiting for our own limits does not count."""
    return (WORLD_CLOCK.get() or TRIAL_CLOCK.get() or SystemClock()).now()


def _moved_to(provider: str) -> str | None:
    """Return the address that a vendor was moved to, which may answer differently."""
    vendor = VENDORS.get(provider)
    return settings.setting(vendor.base_url_variable) if vendor and vendor.base_url_variable else None
