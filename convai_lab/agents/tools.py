"""Tools: what may the agent do besides talking, and which Python function does it?"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, overload

from convai_lab.agents.platform_value import PlatformValue
from convai_lab.agents.tool_schema import Signature, signature_of
from convai_lab.errors import InvalidValueError, ToolError, ToolNotAvailableError

DEFAULT_TIMEOUT_SECS = 20.0
MAX_RESULT_CHARS = 1_000_000

SystemToolName = Literal[
    "end_call",
    "transfer_to_number",
    "transfer_to_agent",
    "skip_turn",
    "language_detection",
    "play_keypad_touch_tone",
    "voicemail_detection",
]

_newest: dict[str, ClientTool] = {}
_newest_of_function: dict[tuple[str, str, str], ClientTool] = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class ClientTool(PlatformValue):
    """A tool that runs where the conversation was started: in this kernel, a browser, an app.

    `parameters` is a JSON schema of type object. `function` is the Python function behind it, when this process
    has one; it is no part of what the tool is, so two tools that differ in it alone are equal. A tool with a
    function can be called like that function.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    response_timeout_secs: float = DEFAULT_TIMEOUT_SECS
    expects_response: bool = True
    function: Callable[..., Any] | None = field(default=None, compare=False, repr=False)
    id: str | None = field(default=None, compare=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    _section: ClassVar[str] = "client_tool"

    def __post_init__(self) -> None:
        if self.function is not None:
            for name in ("__name__", "__qualname__", "__module__", "__doc__"):
                object.__setattr__(self, name, getattr(self.function, name, None))
            object.__setattr__(self, "__wrapped__", self.function)

    def __repr__(self) -> str:
        arguments = ", ".join(self.parameters.get("properties") or ())
        return f"ClientTool(name={self.name!r}, description={self.description!r}, arguments=({arguments}))"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the Python function behind the tool."""
        if self.function is None:
            raise _not_available(self.name)
        return self.function(*args, **kwargs)


@dataclass(frozen=True, kw_only=True, eq=False)
class WebhookTool(PlatformValue):
    """A tool that the platform calls over HTTP.

    `url` may hold ``{placeholders}`` described by `path_schema`. The schemas are JSON schemas; the model fills
    what they describe. `headers` are sent as they stand (a value may be ``{"secret_id": ...}`` on the cloud).
    """

    name: str
    url: str
    description: str = ""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path_schema: Mapping[str, Any] = field(default_factory=dict)
    query_schema: Mapping[str, Any] = field(default_factory=dict)
    body_schema: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)
    content_type: str = "application/json"
    response_timeout_secs: float = DEFAULT_TIMEOUT_SECS
    id: str | None = field(default=None, compare=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    _section: ClassVar[str] = "webhook_tool"

    def __post_init__(self) -> None:
        if isinstance(self.method, str):
            object.__setattr__(self, "method", self.method.upper())


@dataclass(frozen=True, kw_only=True, eq=False)
class SystemTool(PlatformValue):
    """A tool built into the platform; `params` are its own settings (for a transfer: where to).

    `name` is what the model calls it; `kind` says which system tool it is, when that differs.
    """

    name: str
    description: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = field(default=None, compare=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    _section: ClassVar[str] = "system_tool"

    def __post_init__(self) -> None:
        if isinstance(self.params, Mapping) and self.params.get("system_tool_type") == self.name:
            own = {name: value for name, value in self.params.items() if name != "system_tool_type"}
            object.__setattr__(self, "params", own)

    @property
    def kind(self) -> str:
        """Which system tool this is: ``end_call``, ``transfer_to_number``, ..."""
        return str(self.params.get("system_tool_type") or self.name)


Tool = ClientTool | WebhookTool | SystemTool


@overload
def tool(function: Callable[..., Any], /) -> ClientTool: ...


@overload
def tool(
    *, name: str | None = None, description: str | None = None, timeout: float = DEFAULT_TIMEOUT_SECS
) -> Callable[[Callable[..., Any]], ClientTool]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_SECS,
) -> ClientTool | Callable[[Callable[..., Any]], ClientTool]:
    """Make a typed Python function a tool that agents can call; it can still be called as the function.

    The docstring tells the model what the tool does and what its arguments mean. Defining the function again
    (running its cell again) takes effect at once, also for agents that have the tool already. `timeout` is in
    seconds.

    Raises:
        InvalidValueError: An argument has no type, or cannot be described to a model.

    Example:
        >>> @tool
        ... def order_status(order_id: str) -> dict:
        ...     '''Look up an order by its number.'''
        ...     return {"status": "shipped"}
        >>> order_status.description, order_status("1234")
        ('Look up an order by its number.', {'status': 'shipped'})
    """
    if function is None:
        return lambda decorated: _made(decorated, name, description, timeout)
    return _made(function, name, description, timeout)


def registered_tool(name: str) -> ClientTool | None:
    """Return the newest tool of that name that `@tool` made in this process."""
    return _newest.get(name)


def newest_definition(tool: ClientTool) -> ClientTool:
    """Return the tool as its function was defined last (its cell ran again, its module was loaded again).

    A function of the same name in another module is another tool.
    """
    key = _function_key(tool)
    return _newest_of_function.get(key, tool) if key else tool


def run_tool(tool: ClientTool, arguments: Mapping[str, Any] | str | None) -> str:
    """Run the Python function behind a tool, in its newest definition, and return its result as text.

    Text comes back as it is, everything else as JSON. `arguments` may also be the JSON of an object.

    Raises:
        ToolNotAvailableError: This process has no function for the tool.
        ToolError: An argument is wrong, the function failed, or its result cannot be shown as JSON.
    """
    function = _newest_function(tool)
    signature = signature_of(function)
    checked = signature.checked(_as_object(arguments, tool.name), tool=tool.name)
    try:
        result = _called(signature, checked)
    except ToolError:
        raise
    except Exception as error:
        raise ToolError(f"failed with {type(error).__name__}: {error}", tool=tool.name) from error
    return _as_text(result, tool.name)


def _made(function: Any, name: str | None, description: str | None, timeout: float) -> ClientTool:
    if isinstance(function, ClientTool) and function.function is not None:
        function = function.function
    if not callable(function):
        raise InvalidValueError(f"is for functions, got {type(function).__name__}", field="@tool")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 1 <= timeout <= 120:
        raise InvalidValueError(f"must be from 1 to 120 seconds, got {timeout!r}", field="timeout")
    own_name = name or getattr(function, "__name__", None)
    if not own_name or own_name == "<lambda>":
        raise InvalidValueError("a tool needs a name: write @tool(name=...) or a named function", field="@tool")
    signature = signature_of(function)
    made = ClientTool(
        name=own_name,
        description=signature.description if description is None else description,
        parameters=signature.json_schema(),
        response_timeout_secs=float(timeout),
        function=function,
    )
    _newest[made.name] = made
    if key := _function_key(made):
        _newest_of_function[key] = made
    return made


def _function_key(tool: ClientTool) -> tuple[str, str, str] | None:
    """Return what stays the same when a function is defined again, or None for one made inside a function."""
    qualified = getattr(tool.function, "__qualname__", "<locals>")
    module = getattr(tool.function, "__module__", None) or ""
    return None if "<locals>" in qualified else (module, qualified, tool.name)


def _newest_function(tool: ClientTool) -> Callable[..., Any]:
    found = registered_tool(tool.name) if tool.function is None else newest_definition(tool)
    if found is None or found.function is None:
        raise _not_available(tool.name)
    return found.function


def _not_available(name: str) -> ToolNotAvailableError:
    return ToolNotAvailableError(
        "no Python function of that name is defined here (after a kernel restart, run the cell of its @tool again)",
        tool=name,
    )


def _as_object(arguments: Any, name: str) -> Mapping[str, Any]:
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError):
            raise ToolError(f"the arguments are not JSON: {arguments[:80]!r}", tool=name) from None
    if arguments is None:
        return {}
    if not isinstance(arguments, Mapping):
        raise ToolError(f"the arguments must be an object, got {type(arguments).__name__}", tool=name)
    return arguments


def _called(signature: Signature, checked: Mapping[str, Any]) -> Any:
    result = signature.call(checked)
    if not inspect.iscoroutine(result):
        return result
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(result)
    return _run_beside(result)


def _run_beside(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end on a thread of its own, because this thread's loop is busy calling us."""
    outcome: list[Any] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(asyncio.run(coroutine))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="convai-tool", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def _as_text(result: Any, name: str) -> str:
    text = result if isinstance(result, str) else _as_json(result, name)
    if len(text) > MAX_RESULT_CHARS:
        raise ToolError(f"returned {len(text):,} characters, more than {MAX_RESULT_CHARS:,}: return less", tool=name)
    return text


def _as_json(result: Any, name: str) -> str:
    import pydantic_core

    try:
        plain = pydantic_core.to_jsonable_python(result, fallback=_array_as_list)
        return json.dumps(plain, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        what = "a number JSON has not" if isinstance(result, float) and not math.isfinite(result) else ""
        raise ToolError(
            f"returned {what or type(result).__name__}, which cannot be shown as JSON: return a str, dict or list",
            tool=name,
        ) from None


def _array_as_list(value: Any) -> Any:
    if callable(tolist := getattr(value, "tolist", None)):
        return tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")
