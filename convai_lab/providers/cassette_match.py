"""Cassette match: which recording answers a request, and where does the nearest one differ?

Requests are compared by content. The ids of tool calls are named by the order in which they appear: vendors invent
them anew each time.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from convai_lab.providers.cassette_file import Kind, Recording, name_of

MOST_COMPARED = 2000
"""So many recordings are looked at to name the nearest."""
SHOWN_CHARS = 32
ABSENT = "nothing"


class Difference(NamedTuple):
    """The first place in which a request is not the recorded one; `field` is its path."""

    field: str
    recorded: Any
    asked: Any

    def __str__(self) -> str:
        if not (isinstance(self.recorded, str) and isinstance(self.asked, str)):
            return f"{self.field} is {_shown(self.asked)} and was {_shown(self.recorded)}"
        pairs = zip_longest(self.recorded, self.asked)
        at = next((i for i, (one, other) in enumerate(pairs) if one != other), 0)
        where = f" from character {at + 1} on" if at else ""
        return f"{self.field} is{where} {_around(self.asked, at)} and was {_around(self.recorded, at)}"


class Miss(NamedTuple):
    """Why nothing answers a request: all like it are used up, or the nearest one differs, or there is none at all."""

    times_recorded: int
    nearest: Recording | None
    difference: Difference | None


class Shelf:
    """The recordings of a cassette, each handed out once; safe in any number of threads.

    Args:
        repeat: When all recordings of a request were handed out, begin again with the first.
    """

    def __init__(self, recordings: Sequence[Recording], *, repeat: bool = False) -> None:
        self._lock = threading.Lock()
        self._repeat = repeat
        self._all = list(recordings)
        self._by_key: dict[str, list[Recording]] = defaultdict(list)
        self._used: set[int] = set()
        for recording in recordings:
            self._by_key[key_of(recording.kind, recording.request)].append(recording)
        for key, alike in self._by_key.items():
            last = max(recording.take for recording in alike)
            self._by_key[key] = [recording for recording in alike if recording.take == last]

    def __len__(self) -> int:
        return len(self._all)

    def take(self, kind: Kind, request: Mapping[str, Any], *, scope: str = "") -> Recording | Miss:
        """Return the recording that is next for a request; those of its own conversation come first.

        One in which nobody listened to the end is used up like others, but a whole one answers in its place.
        """
        key = key_of(kind, request)
        with self._lock:
            alike = self._by_key.get(key, [])
            free = [recording for recording in alike if id(recording) not in self._used]
            if not free and alike and self._repeat:
                self._used.difference_update(map(id, alike))
                free = list(alike)
            if not free:
                return self._miss(kind, request, alike)
            chosen = _preferred(free, scope)
            self._used.add(id(chosen))
            whole = [recording for recording in alike if not recording.answer.get("cut")]
            return whole[0] if chosen.answer.get("cut") and whole else chosen

    def peek(self, kind: Kind, request: Mapping[str, Any]) -> Recording | None:
        """Return the first recording of a request without using it up."""
        with self._lock:
            return next(iter(self._by_key.get(key_of(kind, request), [])), None)

    def of_kind(self, kind: Kind) -> list[Recording]:
        """Return all recordings of a kind."""
        return [recording for recording in self._all if recording.kind == kind]

    def rewind(self) -> None:
        """Hand everything out anew."""
        with self._lock:
            self._used.clear()

    def _miss(self, kind: Kind, request: Mapping[str, Any], alike: Sequence[Recording]) -> Miss:
        if alike:
            return Miss(len(alike), alike[-1], None)
        candidates = [recording for recording in self._all if recording.kind == kind][-MOST_COMPARED:]
        if not candidates:
            return Miss(0, None, None)
        asked = matched(request)
        nearest = max(candidates, key=lambda recording: _likeness(matched(recording.request), asked))
        return Miss(0, nearest, first_difference(matched(nearest.request), asked))


def key_of(kind: Kind, request: Mapping[str, Any]) -> str:
    """Return what two requests share that ask the same."""
    return name_of([kind, matched(request)])


def matched(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a request what is compared: ids of tool calls by their order."""
    messages = request.get("messages")
    if not isinstance(messages, list):
        return dict(request)
    names: dict[str, str] = {}
    return {**request, "messages": [_with_names(message, names) for message in messages]}


def first_difference(recorded: Any, asked: Any, field: str = "") -> Difference | None:
    """Return the first place, in reading order, in which two plain JSON values differ; None when they are equal."""
    if recorded == asked and type(recorded) is type(asked):
        return None
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for name in dict.fromkeys((*recorded, *asked)):
            path = f"{field}.{name}" if field else str(name)
            found = first_difference(recorded.get(name, ABSENT), asked.get(name, ABSENT), path)
            if found is not None:
                return found
        return None
    if isinstance(recorded, list) and isinstance(asked, list):
        for i, (one, other) in enumerate(zip_longest(recorded, asked, fillvalue=ABSENT)):
            if (found := first_difference(one, other, f"{field}[{i}]")) is not None:
                return found
        return None
    return Difference(field, recorded, asked)


def _preferred(free: Sequence[Recording], scope: str) -> Recording:
    """Return the recording of the same conversation, else one of none, else the first: so order does not matter.

    Of a conversation that was recorded again, the last attempt is what became of it.
    """
    if scope and (own := [recording for recording in free if recording.scope == scope]):
        return max(own, key=lambda recording: recording.attempt)
    return next((recording for recording in free if not recording.scope), free[0])


def _likeness(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[float, ...]:
    """Return how near a recorded request is: the same model, then the same words at the start, then the rest."""
    same_model = sum(recorded.get(name) == asked.get(name) for name in ("provider", "model", "engine", "name"))
    one, other = _flat(recorded), _flat(asked)
    leading = 0.0
    for a, b in zip(one, other, strict=False):
        if a != b:
            leading += _common(a, b)
            break
        leading += 1
    shared = sum((Counter(one) & Counter(other)).values())
    return (same_model, leading, shared, -abs(len(one) - len(other)))


def _common(one: str, other: str) -> float:
    """Return which share of two texts is the same at their beginning."""
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return same / max(1, len(one), len(other))


def _flat(request: Mapping[str, Any]) -> list[str]:
    return list(_leaves([request.get("messages"), request.get("text"), request.get("arguments"), *_rest(request)]))


def _rest(request: Mapping[str, Any]) -> Iterator[Any]:
    yield from (value for name, value in request.items() if name not in ("messages", "text", "arguments"))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None:
        yield str(value)


def _with_names(message: Any, names: dict[str, str]) -> Any:
    if not isinstance(message, dict) or not ("tool_calls" in message or "tool_call_id" in message):
        return message
    renamed = dict(message)
    if isinstance(calls := message.get("tool_calls"), list):
        renamed["tool_calls"] = [
            {**call, "id": _order(call.get("id"), names)} if isinstance(call, dict) else call for call in calls
        ]
    if "tool_call_id" in message:
        renamed["tool_call_id"] = _order(message["tool_call_id"], names)
    return renamed


def _order(own_id: Any, names: dict[str, str]) -> str:
    return names.setdefault(str(own_id), f"call {len(names) + 1}")


def _around(text: str, at: int) -> str:
    start = max(0, at - SHOWN_CHARS // 2)
    piece = text[start : at + SHOWN_CHARS]
    return repr(("…" if start else "") + piece + ("…" if at + SHOWN_CHARS < len(text) else ""))


def _shown(value: Any) -> str:
    if value == ABSENT:
        return "not there"
    if isinstance(value, dict) and "role" in value:
        return f"a message of the {value['role']} ({_around(str(value.get('content', '')), 0)})"
    text = repr(value)
    return text if len(text) <= 2 * SHOWN_CHARS else f"{text[: 2 * SHOWN_CHARS]}…"
