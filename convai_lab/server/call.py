"""Call: one REST request as its handler sees it, and the door it came through."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from convai_lab.server.access import VisitorPolicy
from convai_lab.server.answers import InvalidRequest, Refusal, error_answer, json_answer
from convai_lab.server.context import Platform
from convai_lab.server.limits import parse_body, read_body

Handler = Callable[["Call"], Any]
"""Answers a call: with something JSON can show, None for "204 No Content", or a whole Response."""

Visitors = Callable[["Call"], VisitorPolicy]
"""Finds out what the agent behind a call says about clients without a key."""

METHODS_WITH_BODY = ("POST", "PUT", "PATCH")
PREFLIGHT_SECS = 600
TRUE_WORDS, FALSE_WORDS = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, its door passed and its body parsed. Handlers run in a thread: the store may make them wait."""

    platform: Platform
    path: Mapping[str, str]
    query: QueryParams
    headers: Headers
    body: Any = None
    base_url: str = ""

    def object_body(self) -> dict[str, Any]:
        """Return the body, which must be a JSON object."""
        if self.body is None:
            raise InvalidRequest.at("body", msg="a JSON object is needed here", kind="missing")
        if not isinstance(self.body, dict):
            raise InvalidRequest.at("body", msg="a JSON object is needed here, not a list or a value", kind="dict_type")
        return self.body

    def needed(self, name: str) -> str:
        """Return a query parameter that must be there."""
        if value := self.query.get(name):
            return value
        raise InvalidRequest.at("query", name, msg="Field required", kind="missing")

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        """Return a whole number from the query, within its range."""
        return default if (value := self.number(name, low=low, high=high, whole=True)) is None else int(value)

    def number(self, name: str, *, low: float = -1e15, high: float = 1e15, whole: bool = False) -> float | None:
        """Return a number from the query, or None when it is not given."""
        text = self.query.get(name)
        if text is None or text == "":
            return None
        try:
            value = float(int(text[:30])) if whole else float(text[:30])
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            kind = "whole number" if whole else "number"
            raise InvalidRequest.at("query", name, msg=f"must be a {kind} from {low:g} to {high:g}", kind="range")
        return value

    def flag(self, name: str, default: bool | None = None) -> bool | None:
        """Return a yes-or-no from the query."""
        text = self.query.get(name)
        if text is None or text == "":
            return default
        if text.lower() in (*TRUE_WORDS, *FALSE_WORDS):
            return text.lower() in TRUE_WORDS
        raise InvalidRequest.at("query", name, msg="must be true or false", kind="bool_parsing")

    def choice(self, name: str, default: str, *, among: tuple[str, ...]) -> str:
        """Return one of several words from the query."""
        value = self.query.get(name) or default
        if value not in among:
            raise InvalidRequest.at("query", name, msg=f"must be one of {', '.join(among)}", kind="enum")
        return value


def route(path: str, *, visitors: Visitors | None = None, subject: str = "", **handlers: Handler) -> Route:
    """Return a route that answers each HTTP method with its handler.

    Without `visitors` the API key is needed. With it, official clients may come without one, and pages of allowed
    origins may read the answer. `subject` is what the path names, for the word in a 404.

    Example:
        route("/v1/voices/{voice_id}", subject="voice", GET=get_voice)
    """

    async def endpoint(request: Request) -> Response:
        admitted = _Admission(request, visitors)
        try:
            handler = handlers["GET" if request.method == "HEAD" else request.method]
            call = await admitted.call()
            answer = await run_in_threadpool(handler, call)
            response = _response(answer)
        except Exception as error:
            place = "body" if request.method in METHODS_WITH_BODY else "query"
            response = error_answer(error, subject=subject, place=place)
        return admitted.mark(response)

    async def preflight(request: Request) -> Response:
        admitted = _Admission(request, visitors)
        try:
            await admitted.check_origin()
        except Exception as error:
            return error_answer(error, subject=subject)
        return admitted.preflight(list(handlers))

    async def either(request: Request) -> Response:
        return await (preflight(request) if request.method == "OPTIONS" else endpoint(request))

    methods = [*handlers, *(["OPTIONS"] if visitors else [])]
    return Route(path, either, methods=methods)


class _Admission:
    """The way of one request through the door."""

    def __init__(self, request: Request, visitors: Visitors | None) -> None:
        self._request, self._visitors = request, visitors
        self._platform: Platform = request.app.state.platform
        self._origin: str | None = None
        self._policy = VisitorPolicy()

    async def call(self) -> Call:
        """Check who asks, then read what is asked."""
        await self.check_origin()
        self._check_key()
        request = self._request
        has_body = request.method in METHODS_WITH_BODY
        return Call(
            platform=self._platform,
            path=request.path_params,
            query=request.query_params,
            headers=request.headers,
            body=parse_body(await read_body(request)) if has_body else None,
            base_url=str(request.base_url),
        )

    async def check_origin(self) -> None:
        """Find out which page asks; pages of this machine are known before the agent is looked up."""
        door, headers = self._platform.door, self._request.headers
        try:
            self._origin = door.check_origin(headers)
        except Refusal:
            if self._visitors is None or not headers.get("origin"):
                raise
            self._count()
            self._policy = await self._read_policy(self._visitors)
            self._origin = door.check_origin(headers, self._policy)
            return
        if self._visitors is not None and self._request.method != "OPTIONS" and not door.has_key(headers):
            self._count()
            self._policy = await self._read_policy(self._visitors)

    def mark(self, response: Response) -> Response:
        """Let the page that asked read the answer, on routes for visitors."""
        if self._visitors is not None:
            response.headers["vary"] = "origin"
            if self._origin:
                response.headers["access-control-allow-origin"] = self._origin
        return response

    def preflight(self, methods: list[str]) -> Response:
        """Answer a browser that asks before it asks."""
        if not self._origin:
            return error_answer(Refusal(400, "bad_request", "a preflight request names its Origin"))
        headers = {
            "access-control-allow-methods": ", ".join(methods),
            "access-control-allow-headers": "content-type",
            "access-control-max-age": str(PREFLIGHT_SECS),
            "access-control-allow-private-network": "true",
        }
        return self.mark(Response(status_code=204, headers=headers))

    def _check_key(self) -> None:
        door, headers = self._platform.door, self._request.headers
        try:
            if self._visitors is None:
                door.require_key(headers)
            elif not self._is_signed():
                door.check_visitor(headers, self._policy)
        except Refusal as refusal:
            if refusal.word == "invalid_api_key":
                self._platform.rates.wrong_key()
            raise
        if door.has_key(headers):
            self._platform.rates.request()

    def _is_signed(self) -> bool:
        signature = self._request.query_params.get("conversation_signature")
        if not signature or not self._policy.agent_id:
            return False
        self._platform.door.check_signature(self._policy.agent_id, signature, now=self._platform.clock.wall())
        return True

    def _count(self) -> None:
        if not self._platform.door.has_key(self._request.headers):
            self._platform.rates.visit()

    async def _read_policy(self, visitors: Visitors) -> VisitorPolicy:
        request = self._request
        call = Call(
            platform=self._platform, path=request.path_params, query=request.query_params, headers=request.headers
        )
        return await run_in_threadpool(visitors, call)


def _response(answer: Any) -> Response:
    if isinstance(answer, Response):
        return answer
    return Response(status_code=204) if answer is None else json_answer(answer)
