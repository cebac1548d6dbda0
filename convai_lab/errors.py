"""Errors: what went wrong, who failed, and what to do next.

The tree::

    ConvaiLabError
    ├── InvalidValueError             a value we were given is wrong; carries the path of the field
    │   └── InvalidConfigError        several such values in one configuration
    ├── MissingVariableError          a prompt names a dynamic variable that has no value
    ├── MissingKeyError               an API key is not set; names the environment variable
    ├── MissingPackageError           an optional package is not installed; says how to install it
    ├── NotSupportedError             this platform cannot do that; says what can
    ├── ForbiddenAddressError         a tool or model address that must not be called
    ├── ResponseTooLargeError         an answer is larger than we are willing to read
    ├── StorageError                  the local store cannot be read or written
    ├── PlatformProcessError          the local platform did not start or went away
    ├── ToolError                     a tool call failed
    │   ├── ToolNotAvailableError     nobody here can run that tool
    │   └── ToolTimeoutError          the tool did not answer in time
    ├── PlatformError                 an Agents platform, local or cloud, refused (status, body)
    │   ├── AuthenticationError       401, 403
    │   ├── NotFoundError             404, also an unknown name
    │   ├── AmbiguousNameError        a name that fits more than one thing
    │   ├── InvalidRequestError       400, 422
    │   ├── RateLimitError            429; carries retry_after
    │   └── ConversationClosedError   a conversation ended before the reply did (close code, reason)
    └── ProviderError                 a vendor answered with an error, or not at all
        ├── ProviderAuthError         the vendor refused the key
        ├── ModelNotFoundError        the vendor does not know the model; carries suggestions
        ├── ProviderRateLimitError    too many requests or no quota left; carries retry_after
        ├── ProviderRequestError      the vendor says the request itself is wrong
        ├── ProviderConnectionError   the vendor could not be reached
        ├── ProviderTimeoutError      the vendor did not answer in time
        ├── ProviderStreamError       the answer was cut, empty, malformed or too large
        └── CassetteMissError         a recording that is replayed does not hold this request; says what differs
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class ConvaiLabError(Exception):
    """Something expected went wrong; the message says what, and what to do next."""

    def _render_traceback_(self) -> list[str]:
        """Show one line in a notebook instead of a stack trace (an IPython hook)."""
        return [" ".join(f"{type(self).__name__}: {self}".split())]

    def __reduce__(self) -> tuple[object, ...]:
        """Travel whole between processes: the usual way would call `__init__` without its keywords."""
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[ConvaiLabError], args: tuple[object, ...], state: dict[str, object]) -> ConvaiLabError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class InvalidValueError(ConvaiLabError, ValueError):
    """A value is wrong; `field` is its path, such as ``conversation_config.tts.speed``."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class Problem(NamedTuple):
    """One wrong value in a configuration: where it is, what is wrong, and its kind."""

    loc: tuple[str | int, ...]
    msg: str
    type: str

    @property
    def field(self) -> str:
        """Return the path of the field, joined by dots."""
        return ".".join(str(part) for part in self.loc)


class InvalidConfigError(InvalidValueError):
    """A configuration has one or more wrong values; `problems` lists them all."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.field}: {p.msg}" for p in self.problems))
        self.field = self.problems[0].field if self.problems else ""


class MissingVariableError(ConvaiLabError):
    """A prompt or message names dynamic variables that have no value; `names` lists them."""

    def __init__(self, names: Sequence[str], *, where: str = "the prompt") -> None:
        self.names = tuple(names)
        shown = ", ".join("{{" + name + "}}" for name in self.names)
        hint = " ".join(f"--var {name}=..." for name in self.names)
        super().__init__(
            f"{where} uses {shown}, which has no value: pass it ({hint}, or variables={{...}}), "
            "or give it a placeholder in the agent's `variables`"
        )


class MissingKeyError(ConvaiLabError):
    """An API key is not set; `variable` is the environment variable that would hold it."""

    def __init__(self, variable: str, *, needed_for: str, instead: str = "use --llm offline") -> None:
        self.variable = variable
        super().__init__(
            f"{needed_for} needs {variable}, which is not set: set it in the environment or the keyring, "
            f"or {instead} to go on without a key"
        )


class MissingPackageError(ConvaiLabError, ImportError):
    """An optional package is missing; the message holds the install command."""

    def __init__(self, package: str, *, extra: str, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs the package {package}: pip install 'convai-lab[{extra}]'")


class NotSupportedError(ConvaiLabError):
    """This platform or engine cannot do what was asked; the message says what can."""


class ForbiddenAddressError(ConvaiLabError):
    """An address that the local platform refuses to call (see the address rules in `http`)."""


class ResponseTooLargeError(ConvaiLabError):
    """An answer is larger than we are willing to read; `max_bytes` is the limit."""

    def __init__(self, max_bytes: int, *, url: str = "") -> None:
        super().__init__(f"the answer{f' of {url}' if url else ''} is larger than {max_bytes:,} bytes, the limit here")
        self.max_bytes = max_bytes


class StorageError(ConvaiLabError):
    """The local store cannot be read or written; the message names the file."""


class PlatformProcessError(ConvaiLabError):
    """The local platform process did not start, or went away; carries the end of its log."""


class ToolError(ConvaiLabError):
    """A tool call failed; `tool` is its name."""

    def __init__(self, message: str, *, tool: str) -> None:
        super().__init__(f"tool {tool}: {message}")
        self.tool = tool


class ToolNotAvailableError(ToolError):
    """Nobody in this session can run the tool, for example after a kernel restart."""


class ToolTimeoutError(ToolError):
    """The tool did not answer within its time-out."""


class PlatformError(ConvaiLabError):
    """An Agents platform refused a request; `status` and `body` are what it answered."""

    def __init__(self, message: str, *, status: int | None = None, body: Any = None) -> None:
        super().__init__(message)
        self.status, self.body = status, body


class AuthenticationError(PlatformError):
    """The platform refused the API key or the signature (401, 403)."""


class NotFoundError(PlatformError):
    """No such agent, conversation or route (404), or no agent of that name."""


class AmbiguousNameError(PlatformError):
    """A name fits more than one agent; the message lists the ids."""


class InvalidRequestError(PlatformError):
    """The platform found the request wrong (400, 422); `problems` lists the fields it named."""

    def __init__(
        self, message: str, *, status: int | None = None, body: Any = None, problems: Sequence[Problem] = ()
    ) -> None:
        super().__init__(message, status=status, body=body)
        self.problems = tuple(problems)


class RateLimitError(PlatformError):
    """Too many requests (429); `retry_after` is in seconds when the platform said so."""

    def __init__(
        self, message: str, *, status: int | None = 429, body: Any = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, status=status, body=body)
        self.retry_after = retry_after


class ConversationClosedError(PlatformError):
    """The platform closed the conversation; `code` is the websocket close code."""

    def __init__(self, message: str, *, code: int | None = None, body: Any = None) -> None:
        super().__init__(message, status=None, body=body)
        self.code = code


class ProviderError(ConvaiLabError):
    """A vendor answered with an error, or not at all."""

    def __init__(self, message: str, *, provider: str, status: int | None = None, model: str = "") -> None:
        super().__init__(f"{provider}: {message}")
        self.provider, self.status, self.model = provider, status, model


class ProviderAuthError(ProviderError):
    """The vendor refused the key."""


class ModelNotFoundError(ProviderError):
    """The vendor does not know the model, or has retired it; `suggestions` are close names."""

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        status: int | None = None,
        model: str = "",
        suggestions: Sequence[str] = (),
    ) -> None:
        hint = f" (did you mean {', '.join(suggestions)}?)" if suggestions else ""
        super().__init__(message + hint, provider=provider, status=status, model=model)
        self.suggestions = tuple(suggestions)


class ProviderRateLimitError(ProviderError):
    """The vendor is limiting requests, or the quota is used up; `retry_after` is in seconds."""

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        status: int | None = 429,
        model: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, provider=provider, status=status, model=model)
        self.retry_after = retry_after


class ProviderRequestError(ProviderError):
    """The vendor says the request itself is wrong (400, 413, 422)."""


class ProviderConnectionError(ProviderError):
    """The vendor could not be reached: refused, reset, or no such host."""


class ProviderTimeoutError(ProviderError):
    """The vendor did not answer, or did not finish, in time."""


class ProviderStreamError(ProviderError):
    """The vendor's answer was cut off, empty, malformed, or larger than allowed."""


class CassetteMissError(ProviderError):
    """A cassette that is replayed does not hold this request; the message names the nearest one and the difference."""

    def __init__(self, message: str, *, provider: str = "cassette", model: str = "") -> None:
        super().__init__(message, provider=provider, model=model)
