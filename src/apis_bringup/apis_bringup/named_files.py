"""The files that a grid file names, read as the nodes read them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from apis_core.config.jsonc import unsendable
from apis_core.model.errors import ConfigError, Problem
from apis_site.files import read_text

__all__ = ["NamedFiles"]

T = TypeVar("T")


class NamedFiles:
    """The files that a grid file names: each is read once, and reported once.

    Args:
        grid_source: Name of the grid file, as the user gave it.
        folder: Its folder, absolute.

    Attributes:
        folder: The same.
        problems: What is wrong in any of them.
    """

    def __init__(self, grid_source: str, folder: Path) -> None:
        self.problems: list[Problem] = []
        self.grid_source = grid_source
        self.folder = folder
        self._names: dict[str, str] = {}
        self._texts: dict[Path, str] = {}
        self._parsed: dict[Path, Any] = {}

    def absolute(self, name: str) -> Path:
        """Where a file is that the grid file names."""
        return (self.folder / name).resolve()

    def named(self, source: str) -> str:
        """The name of a file as the grid file has it, of its absolute one."""
        return self._names.get(source, source)

    def text(self, name: str) -> str:
        """The content of a file that was parsed; empty if it could not be read."""
        return self._texts.get(self.absolute(name), "")

    def warnings(self) -> tuple[Problem, ...]:
        """What the authors of all files may want to look at."""
        return tuple(
            w for parsed in self._parsed.values() for w in getattr(parsed, "warnings", ())
        )

    def exists(self, name: str, key: str) -> bool:
        """Whether a file is there; if not, that is a problem of the grid file."""
        path = self.absolute(name)
        if wrong := unsendable(str(path)):
            name, right = ascii(str(path)), f"its name {wrong}"
        elif _is_there(path):
            self._names[str(path)] = name
            return True
        else:
            right = "no such file; names are relative to the grid file's folder"
        self.problems.append(Problem(self.grid_source, key, name, right))
        return False

    def parse(self, name: str, key: str, parser: Callable[[str, str], T]) -> T | None:
        """The content of a file; None if it is missing or wrong."""
        path = self.absolute(name)
        if not self.exists(name, key):
            return None
        if path not in self._parsed:
            self._parsed[path] = None
            try:
                self._texts[path] = read_text(path, name, what=key)
                self._parsed[path] = parser(self._texts[path], name)
            except ConfigError as error:
                self.problems += error.problems
        parsed: T | None = self._parsed[path]
        return parsed


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, or a folder that is shut: reading it says so
        return True
