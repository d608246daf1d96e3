"""What can go wrong while a grid is started or looked at, beyond a wrong configuration."""

from __future__ import annotations

from apis_core.errors import ApisError, ConfigError, Problem

__all__ = ["CommandFailed", "usage_error"]


class CommandFailed(ApisError):
    """A command could not do its work (exit code 1); the message is one line for people."""


def usage_error(option: str, value: object, right: str) -> ConfigError:
    """The error for a wrong value on the command line (exit code 2)."""
    return ConfigError([Problem("command line", option, str(value), right)])
