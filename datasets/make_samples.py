"""Make the sample conversations of the package: invented, seeded, and marked as simulated.

Run by hand when the format changes: `python datasets/make_samples.py`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from convai_lab.clock import VIRTUAL_EPOCH
from convai_lab.conversations.conversation import Analysis, Conversation, CriterionResult
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn, TurnMetrics
from convai_lab.conversations.wire_format import conversation_to_wire

OUT = Path(__file__).parent.parent / "convai_lab" / "analysis" / "samples.jsonl"
SEED = 7
CONVERSATIONS = 24
WORDS_PER_SEC = 2.6

MODELS = {
    "gpt-4o-mini": ("gpt-4o-mini-2024-07-18", 420.0, 0.00011),
    "claude-haiku-4-5": ("claude-haiku-4-5", 560.0, 0.0009),
}
CALLERS = ("Ada", "Grace", "Linus", "Barbara", "Edsger", "Margaret")

Exchange = tuple[str, str | None, str]
"""What the caller says, the order looked up (if any), and what the agent answers."""

STORIES: dict[str, tuple[Exchange, ...]] = {
    "where_is_it": (
        ("Hi, I'd like to know where my order {order} is.", "{order}", "Order {order} has shipped and arrives {eta}."),
        (
            "Can I still change the address?",
            None,
            "Once it has left our warehouse the address cannot be changed, I'm sorry.",
        ),
        ("All right, thank you.", None, "You're welcome, {name}. Goodbye!"),
    ),
    "no_number": (
        ("My parcel is late and I am not happy.", None, "I'm sorry to hear that. What is your order number?"),
        ("It's {order}, I think.", "{order}", "Thank you. Order {order} has shipped and arrives {eta}."),
        (
            "That is what you said last week!",
            None,
            "I understand. Shall I connect you with a colleague who can look closer?",
        ),
        ("No. Fine. I will wait.", None, "Thank you for your patience, {name}."),
    ),
    "not_found": (
        (
            "Where is order {order}?",
            "{order}",
            "I could not look that up just now. Could you read me the number again?",
        ),
        ("{order}.", "{order}", "Thank you. It has shipped and arrives {eta}."),
        ("Great, bye.", None, "Goodbye, {name}!"),
    ),
    "opening_hours": (
        ("Are you open on Saturdays?", None, "We are open Monday to Friday, from nine to five."),
        ("And on holidays?", None, "I don't know that, but I can ask a colleague to call you back."),
        ("No need, thanks.", None, "Have a good day!"),
    ),
}


def make(index: int, dice: random.Random) -> Conversation:
    """Invent one conversation."""
    story = dice.choice(sorted(STORIES))
    model = sorted(MODELS)[index % len(MODELS)]
    caller = dice.choice(CALLERS)
    words = {"order": str(dice.randint(1000, 9999)), "eta": dice.choice(["tomorrow", "on Friday"]), "name": caller}
    turns = tuple(_turns(story, model, words, dice, started_at=VIRTUAL_EPOCH + index * 5400.0))
    solved = not any(turn.error for turn in turns) and story != "no_number"
    verdict = "success" if solved else dice.choice(["failure", "unknown"])
    return Conversation(
        id=f"conv_sample_{index:03d}",
        agent_id="agent_sample_support",
        agent_name="support",
        first_version=1 + index % 2,
        last_version=1 + index % 2,
        channel="voice",
        source="simulated",
        scenario=story,
        variant=model,
        seed=SEED,
        started_at=VIRTUAL_EPOCH + index * 5400.0,
        duration_secs=round((turns[-1].end_secs or 0.0) + 0.8, 2),
        end_reason="the caller said goodbye",
        ended_by="user",
        turns=turns,
        variables={"name": caller},
        tags=("sample",),
        language="en",
        analysis=Analysis(
            success=verdict,
            summary=f"{caller} called ({story.replace('_', ' ')}).",
            criteria={"solved": CriterionResult(value=verdict, rationale="invented for the sample")},
            data={"order_id": CriterionResult(value=words["order"])} if story != "opening_hours" else {},
        ),
    )


def _turns(story: str, model: str, words: dict[str, str], dice: random.Random, *, started_at: float) -> Iterator[Turn]:
    at = 0.4
    who = {"agent_id": "agent_sample_support", "agent_version": 1, "voice": "George", "tts_engine": "elevenlabs"}
    greeting = f"Hi {words['name']}, how can I help?"
    end = at + _spoken_secs(greeting)
    yield Turn(
        role="agent",
        text=greeting,
        started_at=started_at + at,
        start_secs=at,
        end_secs=_r(end),
        marks=("first_message",),
        **who,
    )
    at = end + dice.uniform(0.2, 0.9)
    for said, order, answer in STORIES[story]:
        said, answer = said.format(**words), answer.format(**words)
        end = at + _spoken_secs(said)
        confidence = round(dice.uniform(0.72, 0.98), 3)
        yield Turn(
            role="user",
            text=said,
            started_at=_r(started_at + at),
            start_secs=_r(at),
            end_secs=_r(end),
            asr_engine="scribe_realtime",
            asr_confidence=confidence,
        )
        broken = story == "not_found" and "could not" in answer
        metrics = _metrics(model, dice, with_tool=order is not None)
        at = end + (metrics.voice_to_voice_ms or 0.0) / 1000
        full = _spoken_secs(answer)
        cut = dice.random() < 0.12 and full > 2.5
        heard = full * dice.uniform(0.4, 0.7) if cut else full
        calls, results = _tool(words["order"], words["eta"], broken, metrics) if order else ((), ())
        yield Turn(
            role="agent",
            text=answer,
            text_heard=" ".join(answer.split()[: max(1, int(heard * WORDS_PER_SEC))]) if cut else answer,
            started_at=_r(started_at + at),
            start_secs=_r(at),
            end_secs=_r(at + heard),
            interrupted=cut,
            interrupted_at_secs=_r(at + heard) if cut else None,
            llm_requested=model,
            llm_served=MODELS[model][0],
            tool_calls=calls,
            tool_results=results,
            metrics=metrics,
            finish_reason="stop",
            **who,
        )
        at += heard + (-0.25 if cut else dice.uniform(0.2, 1.1))


def _metrics(model: str, dice: random.Random, *, with_tool: bool) -> TurnMetrics:
    _, typical, price = MODELS[model]
    endpointing, asr = dice.uniform(380, 520), dice.uniform(20, 90)
    ttft, ttfb, rest = dice.lognormvariate(0, 0.25) * typical, dice.uniform(70, 140), dice.uniform(5, 60)
    tokens_in, tokens_out = dice.randint(380, 900), dice.randint(12, 46)
    return TurnMetrics(
        endpointing_ms=round(endpointing, 1),
        asr_ms=round(asr, 1),
        llm_ttft_ms=round(ttft, 1),
        tts_ttfb_ms=round(ttfb, 1),
        unexplained_ms=round(rest, 1),
        voice_to_voice_ms=round(sum(round(part, 1) for part in (endpointing, asr, ttft, ttfb, rest)), 1),
        tool_ms=round(dice.uniform(60, 420), 1) if with_tool else None,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cost_usd=round(price * (tokens_in + 4 * tokens_out) / 1000, 8),
        cost_is_estimate=False,
    )


def _tool(
    order: str, eta: str, broken: bool, metrics: TurnMetrics
) -> tuple[tuple[ToolCall, ...], tuple[ToolResult, ...]]:
    call = ToolCall(id=f"call_{order}", name="order_status", arguments={"order_id": order})
    value = "the order system did not answer in time" if broken else json.dumps({"status": "shipped", "eta": eta})
    result = ToolResult(
        call_id=call.id,
        name=call.name,
        value=value,
        is_error=broken,
        error_type="timeout" if broken else None,
        latency_secs=round((metrics.tool_ms or 0.0) / 1000, 4),
    )
    return (call,), (result,)


def _spoken_secs(text: str) -> float:
    return len(text.split()) / WORDS_PER_SEC


def _r(value: float) -> float:
    return round(value, 2)


if __name__ == "__main__":
    dice = random.Random(SEED)
    documents = [conversation_to_wire(make(index, dice)) for index in range(CONVERSATIONS)]
    OUT.write_text(
        "".join(json.dumps(d, ensure_ascii=False, separators=(",", ":")) + "\n" for d in documents), encoding="utf-8"
    )
    print(f"{len(documents)} conversations, {OUT.stat().st_size // 1024} kB")
