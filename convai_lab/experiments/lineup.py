"""Lineup: who asks which models in a comparison: the agents, the simulated user and the judge?

They are described first (see `roles`), without a key or a request, so that a plan, an estimate and whatever is in the
journal already need none. The models themselves are found when the first trial is held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convai_lab import settings
from convai_lab.agents.agent import Agent, CustomLLM
from convai_lab.clock import SystemClock
from convai_lab.errors import MissingKeyError
from convai_lab.experiments.outside import WORLD_CLOCK
from convai_lab.experiments.plan import tool_functions
from convai_lab.experiments.pool import Pool, PooledLLM
from convai_lab.experiments.preflight import Asked
from convai_lab.experiments.roles import JudgeSpec, ModelRef, UserSpec, model_ref
from convai_lab.experiments.runner import PLATFORM
from convai_lab.experiments.spending import Spending
from convai_lab.experiments.trial_clock import TRIAL_CLOCK
from convai_lab.experiments.variant import Variant
from convai_lab.providers.base import LLM
from convai_lab.providers.cassette import Cassette
from convai_lab.providers.registry import VENDORS, find_live_llm
from convai_lab.providers.retry import NO_RETRIES


def found_llm(model: str, custom: CustomLLM | None = None) -> LLM:
    """Return a model that asks each request once: who asks again, and when, is for the pool to decide."""
    return find_live_llm(model, custom=custom, retry=NO_RETRIES)


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

    @property
    def own(self) -> tuple[Any, ...]:
        """What of the user's own takes part: functions of tools, and a caller or judges who are no names."""
        functions = (f for variant in self.variants for f in tool_functions(variant.agent).values())
        return (*functions, *self.user.own, *self.judge.own)

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
        return asked + [Asked(_helper(llm, role), role) for llm, role in helpers if not llm.is_offline]


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


def _helper(llm: LLM, role: str) -> LLM:
    """Return the model of a judge or a simulated user; a key that is missing is told with what else can play it."""
    try:
        return real(llm)
    except MissingKeyError as error:
        option = "judge" if role == "the judge" else "simulated_user"
        flag = f"--{option.replace('_', '-')}"
        raise MissingKeyError(
            error.variable, needed_for=f"{role} ({llm.model})", instead=f"use {option}='offline' ({flag} offline)"
        ) from None


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


def _trial_now() -> float:
    """Return the time of the trial that is being held, in which waiting for our own limits does not count."""
    return (WORLD_CLOCK.get() or TRIAL_CLOCK.get() or SystemClock()).now()


def _moved_to(provider: str) -> str | None:
    """Return the address that a vendor was moved to, which may answer differently."""
    vendor = VENDORS.get(provider)
    return settings.setting(vendor.base_url_variable) if vendor and vendor.base_url_variable else None
