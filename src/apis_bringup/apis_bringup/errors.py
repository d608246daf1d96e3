"""What can go wrong while a grid is started or looked at, beyond a wrong configuration."""

from __future__ import annotations

from apis_core.model.errors import ApisError, ConfigError, Problem

__all__ = ["CancelledError", "CommandError", "usage_error"]


class CommandError(ApisError):
    """A command could not do its work (exit code 1); the message is one line for people."""


class CancelledError(ApisError):
    """Nobody waits for the answer any more."""


def usage_error(option: str, value: object, right: str) -> ConfigError:
    """The error for a wrong value on the command line (exit code 2)."""
    return ConfigError([Problem("command line", option, str(value), right)])
