"""Everything that this project raises on purpose.

ApisError
 ├─ ConfigError      a file, a parameter or a command line is wrong; lists every problem at once
 ├─ ProtocolMisuse   our own code called a machine in a way that makes no sense (a bug of ours)
 └─ DeviceError      a converter or a battery did not do what it was told
     ├─ DeviceTimeout
     ├─ BadFrame
     └─ DeviceRefused

What peers send, however late, doubled or wrong, is never raised: it is ignored and recorded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "ApisError",
    "BadFrame",
    "ConfigError",
    "DeviceError",
    "DeviceRefused",
    "DeviceTimeout",
    "Problem",
    "ProtocolMisuse",
]


class ApisError(Exception):
    """Base of all our exceptions."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a configuration.

    Attributes:
        source: File (or command line) in which it stands, as the user named it.
        key: Dotted path of the key, such as ``mediator.deal.amountMinWh``; empty = the whole
            source.
        value: What stands there, as text; empty = nothing.
        right: What would be right.
    """

    source: str
    key: str
    value: str
    right: str

    def __str__(self) -> str:
        key, value = _for_a_line(self.key), _for_a_line(self.value)
        where = f"{self.source}: {key}" if key else self.source
        found = f" is {value}," if value else ":"
        return f"{where}{found} {self.right}"


_LONGEST_SHOWN = 200


def _for_a_line(text: str) -> str:
    """A text of a file as it may stand in a line for people: not too long, and harmless."""
    text = text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."
    return "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)


class ConfigError(ApisError):
    """One or more configuration problems, all of them at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ProtocolMisuse(ApisError):
    """A machine was called in a way that its contract forbids."""


class DeviceError(ApisError):
    """A device did not do what it was told."""


class DeviceTimeout(DeviceError):
    """A device did not answer in time."""


class BadFrame(DeviceError):
    """A device answered with bytes that make no sense."""


class DeviceRefused(DeviceError):
    """A device understood and refused."""
