"""Fault: what is told to the model when a tool call fails?"""

from __future__ import annotations


class ToolFault(Exception):
    """A tool call failed in a way the model should know about; it becomes an error result, never an exception.

    `error_type` is one of ``unknown_tool``, ``bad_arguments``, ``tool_not_available``, ``timeout``,
    ``refused`` (the tool itself said no to these arguments), ``tool_error``, ``webhook_error``,
    ``forbidden_address``, ``missing_variable``, ``not_supported``, ``transfer_failed``, ``repeated_failure``,
    ``loop_limit``.
    """

    def __init__(self, message: str, error_type: str) -> None:
        super().__init__(message)
        self.error_type = error_type
