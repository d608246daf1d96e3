"""The files that a unit goes by: read at the start, and again when they have changed.

A file that cannot be read any more, or is wrong, changes nothing: the old one still holds, and the
agent is told, so that everybody learns of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apis_core.config.hardware import parse_hardware
from apis_core.config.policy import parse_policy
from apis_core.config.scenario import parse_scenario
from apis_core.events import (
    ConfigurationRefused,
    Event,
    HardwareRead,
    PolicyRead,
    ScenarioRead,
)
from apis_core.model.errors import ConfigError
from apis_site.files import read_text

__all__ = ["WatchedFile", "watched_files"]

_MOST_TOLD = 12  # problems of one file that everybody hears


class WatchedFile:
    """A file that is read again when it has changed.

    Args:
        path: Its name.
        parse: From its content and its name to the value; raises :class:`ConfigError`.
        event: Made of a value that was read anew.

    Attributes:
        path: The same.
    """

    def __init__(
        self, path: str, parse: Callable[[str, str], Any], event: Callable[[Any], Event]
    ) -> None:
        self.path = path
        self._parse = parse
        self._event = event
        self._text: str | None = None  # as last looked at, right or wrong
        self._failure = ""

    def read(self) -> Any:
        """Its value.

        Raises:
            ConfigError: It cannot be read, or is wrong.
        """
        self._text = read_text(self.path)
        return self._parse(self._text, self.path)

    def look(self) -> Event | None:
        """What has become of it since it was looked at last; None = nothing."""
        try:
            text = read_text(self.path)
            if text == self._text:
                return None
            self._text, self._failure = text, ""
            return self._event(self._parse(text, self.path))
        except ConfigError as error:
            return self._refused(
                "; ".join(str(problem) for problem in error.problems[:_MOST_TOLD])
            )

    def _refused(self, message: str) -> Event | None:
        """Once, and not at every look."""
        if message == self._failure:
            return None
        self._failure = message
        return ConfigurationRefused(f"{message}; what it said before still holds")


def watched_files(policy: str, hardware: str, scenario: str) -> dict[str, WatchedFile]:
    """The files of a unit, by the names of their parameters."""
    return {
        "policy_file": WatchedFile(policy, parse_policy, PolicyRead),
        "hardware_file": WatchedFile(hardware, parse_hardware, HardwareRead),
        "scenario_file": WatchedFile(scenario, parse_scenario, ScenarioRead),
    }
