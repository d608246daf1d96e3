"""The original's flavour of JSON: the standard, with ``//`` comments and dummy ``"#"`` keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from apis_core.errors import ConfigError, Problem

__all__ = ["parse_object", "without_comments"]

DUMMY_KEY = "#"  # the original's samples use it for remarks, and to end an object without a comma

# A string is matched first, and whole, so that the // of "http://..." is no comment.
_STRING_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*')


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys came more than once."""

    repeated: tuple[str, ...] = ()


def without_comments(text: str) -> str:
    """The same text with blanks in place of comments: lines and columns stay where they are."""
    return _STRING_OR_COMMENT.sub(
        lambda match: match[0] if match[0].startswith('"') else " " * len(match[0]), text
    )


def parse_object(text: str, source: str) -> tuple[dict[str, Any], list[Problem]]:
    """Read a JSON object with comments.

    Args:
        text: The file's content.
        source: The file's name, as the user gave it.

    Returns:
        The data without dummy keys, and a problem for every key that stands twice in one object.

    Raises:
        ConfigError: The text is not JSON or not an object, so that nothing more can be said of it.
    """
    text = text.removeprefix("\ufeff")
    clean = without_comments(text)
    try:
        data = json.loads(clean, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        line = text.split("\n")[error.lineno - 1].strip()
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigError([Problem(source, where, line and f"`{line}`", error.msg)]) from None
    except ValueError as error:
        raise ConfigError([Problem(source, "", "", str(error))]) from None
    if not isinstance(data, _Object):
        raise ConfigError([Problem(source, "", "", "must be one JSON object { ... }")])
    return data, [Problem(source, key, "", "stands twice; keep one") for key in _repeats(data)]


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    pairs = [(key, value) for key, value in pairs if key != DUMMY_KEY]
    made = _Object(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        made.repeated = tuple(key for key in made if keys.count(key) > 1)
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON knows")


def _repeats(value: object, path: str = "") -> Iterator[str]:
    """Dotted paths of all keys that stand more than once in their object."""
    if isinstance(value, _Object):
        prefix = f"{path}." if path else ""
        yield from (prefix + key for key in value.repeated)
        for key, inner in value.items():
            yield from _repeats(inner, prefix + key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _repeats(inner, f"{path}[{index}]")
