"""Estimate: what will a comparison cost, before anything is asked?

Tokens are guessed from the length of prompts, tools and scenarios, and from how long such conversations usually are:
at least one reply, at most as many as a scenario allows. It is a range, and the truth is mostly nearer its low end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from convai_lab.agents.agent import Agent
from convai_lab.agents.wire_format import tools_to_wire
from convai_lab.conversations.cost import dollars
from convai_lab.experiments.plan import PlannedTrial
from convai_lab.experiments.spending import price
from convai_lab.providers.base import LLM, Usage

if TYPE_CHECKING:
    from convai_lab.experiments.variant import Variant
    from convai_lab.simulation.scenario import Scenario

CHARS_A_TOKEN = 3.6
REPLY_TOKENS = (15, 90)
"""Tokens of one spoken reply: few and many."""
USER_TOKENS = (8, 40)
USER_PROMPT_TOKENS = 350
JUDGE_PROMPT_TOKENS = 400
JUDGE_REPLY_TOKENS = (60, 250)


@dataclass(frozen=True)
class Span:
    """A low and a high guess."""

    low: float = 0.0
    high: float = 0.0

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)

    def times(self, count: int) -> Span:
        """Return it so many times."""
        return Span(self.low * count, self.high * count)

    @property
    def middle(self) -> float:
        """The geometric middle: estimates are wrong by factors."""
        return math.sqrt(max(self.low, 0.0) * max(self.high, 0.0))


@dataclass(frozen=True)
class Use:
    """What a part of a trial asks of a model."""

    calls: Span = Span()
    input: Span = Span()
    output: Span = Span()

    def __add__(self, other: Use) -> Use:
        return Use(self.calls + other.calls, self.input + other.input, self.output + other.output)


@dataclass(frozen=True, kw_only=True)
class ModelEstimate:
    """What one model will be asked, and what that costs; `usd` is None when its price is not known.

    `variant` is whose agent it speaks for; None for simulated users and judges, who work for all.
    """

    model: str
    role: str
    variant: str | None
    trials: int
    use: Use
    usd: Span | None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a comparison would ask and cost.

    `planned` trials are asked for, of which `cached` are in the journal already and cost nothing.
    """

    planned: int
    cached: int
    models: tuple[ModelEstimate, ...] = ()
    max_cost: float | None = None
    price_date: str | None = None
    notes: tuple[str, ...] = ()
    """Sentences for whoever is about to run it: what it would do that may surprise."""

    @property
    def calls(self) -> Span:
        """Requests to models."""
        return sum((m.use.calls for m in self.models), Span())

    @property
    def tokens(self) -> Span:
        """Tokens in and out."""
        return sum((m.use.input + m.use.output for m in self.models), Span())

    @property
    def usd(self) -> Span:
        """USD, for the models whose price is known."""
        return sum((m.usd for m in self.models if m.usd is not None), Span())

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The models whose price is not known."""
        return tuple(dict.fromkeys(m.model for m in self.models if m.usd is None))

    def __str__(self) -> str:
        fresh = self.planned - self.cached
        done = f" ({self.cached:,} more are in the journal)" if self.cached else ""
        if not fresh:
            return f"All {self.planned:,} trials are in the journal: nothing would be asked, nothing spent."
        calls, tokens = f"{_range(self.calls)} requests", f"{_range(self.tokens)} tokens"
        told = f"{fresh:,} trials{done}: {calls}, {tokens}, {self._cost_text()}."
        return "\n".join([told, *(f"Note: {note}" for note in self.notes)])

    def _cost_text(self) -> str:
        parts = [] if not self.usd.high and self.unpriced else [_usd(self.usd)]
        if self.unpriced:
            parts.append(f"the price of {', '.join(self.unpriced)} is not known")
        if self.price_date and self.usd.high:
            parts.append(f"prices of {self.price_date}")
        if self.max_cost is not None and self.usd.high > self.max_cost:
            parts.append(f"it would stop at max_cost, {dollars(self.max_cost)}")
        return "; ".join(parts)

    def _repr_html_(self) -> str:
        rows = Markup("").join(
            Markup("<tr><td>{}</td><td>{}</td><td>{:,}</td><td>{}</td><td>{}</td><td>{}</td></tr>").format(
                m.model, f"{m.role} {m.variant or ''}", m.trials, _range(m.use.calls),
                _range(m.use.input + m.use.output), "not known" if m.usd is None else _usd(m.usd),
            )
            for m in self.models
        )  # fmt: skip
        head = Markup("").join(Markup("<p>{}</p>").format(line) for line in str(self).splitlines())
        columns = ("model", "role", "trials", "requests", "tokens", "cost")
        titles = Markup("").join(Markup("<th>{}</th>").format(title) for title in columns)
        return str(Markup("{}<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(head, titles, rows))


def make_estimate(
    planned: Sequence[PlannedTrial],
    *,
    cached: int,
    llms: Mapping[str, LLM],
    user: LLM | None,
    judges: Sequence[LLM] = (),
    max_cost: float | None,
) -> Estimate:
    """Return what holding `planned` (those not cached) would ask and cost.

    Args:
        llms: The model of each variant that is asked from here, by the variant's name.
        user: The model of the simulated user, when it is one.
        judges: The models that judge.
    """
    agents: dict[str, list[Use]] = {}
    talks: list[Use] = []
    for trial in planned:
        agents.setdefault(trial.variant.name, []).append(agent_use(trial.variant.agent, trial.scenario))
        talks.append(talk_use(trial.scenario))
    models = [_model(llms[name], "agent", uses, variant=name) for name, uses in agents.items() if name in llms]
    models += [_platform(variant, len(agents[variant.name])) for variant in _remote(planned)]
    if user is not None:
        models.append(_model(user, "simulated user", [_with_prompt(talk, USER_PROMPT_TOKENS) for talk in talks]))
    models += [_model(judge, "judge", [judge_use(talk) for talk in talks]) for judge in judges]
    date = _price_date() if any(m.usd is not None and m.usd.high for m in models) else None
    total = len(planned) + cached
    return Estimate(planned=total, cached=cached, models=tuple(models), max_cost=max_cost, price_date=date)


def agent_use(agent: Agent, scenario: Scenario) -> Use:
    """Guess what an agent's model is asked in one conversation; tools make a second request of a reply."""
    fixed = _tokens(agent.prompt) + sum(_tokens(k.text) for k in agent.knowledge) + _tools_tokens(agent)
    calls = Span(1, max(1, scenario.max_turns // 2) * (1.5 if agent.tools else 1.0))
    said = talk_use(scenario)
    grown = Span(said.output.low, said.output.high + calls.high * REPLY_TOKENS[1])
    given = Span(calls.low * (fixed + grown.low), calls.high * (fixed + grown.high / 2))
    return Use(calls, given, Span(calls.low * REPLY_TOKENS[0], calls.high * REPLY_TOKENS[1]))


def talk_use(scenario: Scenario) -> Use:
    """Guess what a simulated user says in one conversation."""
    moves = max(1, scenario.max_turns // 2)
    opening, whole = _tokens(scenario.opening), _tokens(scenario.opening) + moves * USER_TOKENS[1]
    return Use(Span(1, moves), Span(opening, whole * moves / 2), Span(USER_TOKENS[0], moves * USER_TOKENS[1]))


def judge_use(talk: Use) -> Use:
    """Guess what a judge is asked about one conversation."""
    transcript = Span(talk.output.low + REPLY_TOKENS[0], talk.output.high + talk.calls.high * REPLY_TOKENS[1])
    given = transcript + Span(JUDGE_PROMPT_TOKENS, JUDGE_PROMPT_TOKENS)
    return Use(Span(1, 2), given, Span(*JUDGE_REPLY_TOKENS))


def _with_prompt(talk: Use, tokens: int) -> Use:
    more = Span(talk.calls.low * tokens, talk.calls.high * tokens)
    return Use(talk.calls, talk.input + more, talk.output)


def _model(llm: LLM, role: str, uses: Sequence[Use], *, variant: str | None = None) -> ModelEstimate:
    use = sum(uses, Use())
    name = f"{llm.provider}/{llm.model}" if llm.provider != llm.model else llm.model
    low = _price(llm, use.calls.low, use.input.low, use.output.low)
    high = _price(llm, use.calls.high, use.input.high, use.output.high)
    usd = Span() if llm.is_offline else None if low is None or high is None else Span(low, high)
    return ModelEstimate(model=name, role=role, variant=variant, trials=len(uses), use=use, usd=usd)


def _remote(planned: Sequence[PlannedTrial]) -> list[Variant]:
    """Return the variants that live on another platform, each once."""
    return list({t.variant.name: t.variant for t in planned if t.variant.is_remote}.values())


def _platform(variant: Variant, trials: int) -> ModelEstimate:
    """Return what another platform is asked for, which says to nobody beforehand what it charges."""
    model = f"conversations on {variant.platform}"
    return ModelEstimate(model=model, role="agent", variant=variant.name, trials=trials, use=Use(), usd=None)


def _price(llm: LLM, calls: float, given: float, said: float) -> float | None:
    """Return what requests of average length cost; some models are dearer for each one that is long."""
    if calls == 0:
        return 0.0
    each = price(llm.provider, llm.model, Usage(round(given / calls), round(said / calls)))
    return None if each is None else calls * each


def _tokens(text: str) -> float:
    return len(text) / CHARS_A_TOKEN


def _tools_tokens(agent: Agent) -> float:
    if not agent.tools:
        return 0.0
    return _tokens(json.dumps(tools_to_wire(agent), default=str)) / 2


def _range(span: Span) -> str:
    return f"{_short(span.low)} to {_short(span.high)}"


def _short(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            return f"{number / (1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{number:,.0f}"


def _usd(span: Span) -> str:
    if not span.high:
        return "free"
    return f"{dollars(span.low)} to {dollars(span.high)}"


def _price_date() -> str:
    from convai_lab.providers.prices import price_date

    return price_date()
