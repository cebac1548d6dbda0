"""Installed: is the optional package there that an embedded engine needs?"""

from __future__ import annotations

import importlib.util

from convai_lab.errors import MissingPackageError


def is_installed(module: str) -> bool:
    """Say whether a module could be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def require_package(module: str, package: str, *, needed_for: str) -> None:
    """Refuse in words to go on without a package.

    Raises:
        MissingPackageError: It is not installed; the message says how to install it.
    """
    if not is_installed(module):
        raise MissingPackageError(package, extra="offline", needed_for=needed_for)
