"""The original's flavour of JSON: the standard, with comments and with keys that are remarks.

Comments are ``// to the end of the line`` and ``/* between these */``. A key that begins with
``#`` is a remark, too, at any depth: the original never asks for it, and people put a ``#`` before
a key to switch it off. ``50``, ``50.0`` and ``5e1`` are the same whole number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from apis_core.model.errors import ConfigError, Problem

__all__ = ["MAX_DEPTH", "number", "parse_object", "unsendable", "without_comments"]

MAX_DEPTH = 32  # objects and lists in one another; the original's files have 6
REMARK = "#"  # what a key begins with that is none

# A string is matched first, and whole, so that the // of "http://..." is no comment.
_STRING = r'"(?:\\.|[^"\\\n])*"'
_STRING_OR_COMMENT = re.compile(_STRING + r"|//[^\n]*|/\*(?:[^*]|\*(?!/))*\*/")
_STRING_OR_BRACKET = re.compile(_STRING + r"|[\[\]{}]")
_NOT_A_LINE_END = re.compile(r"[^\n]")
# Half a surrogate pair is no character, and a text with a zero byte ends there for C.
_UNSENDABLE = re.compile("[\ud800-\udfff\0]")
_WHOLE_BELOW = 2**53  # above, a float is not exact


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys came more than once."""

    repeated: tuple[str, ...] = ()


def without_comments(text: str) -> str:
    """The same text with blanks in place of comments: lines and columns stay where they are."""
    return _STRING_OR_COMMENT.sub(
        lambda match: match[0] if match[0].startswith('"') else _NOT_A_LINE_END.sub(" ", match[0]),
        text,
    )


def number(text: str) -> int | float:
    """The number that a file's text says, an ``int`` if it is a whole one, however written."""
    value = float(text)
    is_whole = value.is_integer() and abs(value) < _WHOLE_BELOW
    return int(value) if is_whole else value


def unsendable(text: str) -> str:
    """What is wrong with a text that no message can carry; empty = nothing."""
    found = _UNSENDABLE.search(text)
    return f"must not hold the character U+{ord(found[0]):04X}" if found else ""


def parse_object(text: str, source: str) -> tuple[dict[str, Any], list[Problem]]:
    """Read a JSON object with comments.

    Args:
        text: The file's content.
        source: The file's name, as the user gave it.

    Returns:
        The data without remarks, and a problem for every key that stands twice in one object, and
        for every text that no message can carry.

    Raises:
        ConfigError: The text is not JSON or not an object, so that nothing more can be said of it.
    """
    text = text.removeprefix("\ufeff")
    clean = without_comments(text)
    if (at := _too_deep(clean)) is not None:
        where = f"line {clean.count(chr(10), 0, at) + 1}"
        right = f"must not nest deeper than {MAX_DEPTH} objects and lists in one another"
        raise ConfigError([Problem(source, where, "", right)])
    try:
        data = json.loads(
            clean,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=number,
            parse_int=_whole,
        )
    except json.JSONDecodeError as error:
        line = text.split("\n")[error.lineno - 1].strip()
        line = line if len(line) <= 80 else line[:77] + "..."
        where = f"line {error.lineno}, column {error.colno}"
        is_comment = clean.startswith("/*", error.pos)
        why = "this comment needs a */ at its end" if is_comment else error.msg
        raise ConfigError([Problem(source, where, line and f"`{line}`", why)]) from None
    except ValueError as error:
        raise ConfigError([Problem(source, "", "", str(error))]) from None
    if not isinstance(data, _Object):
        raise ConfigError([Problem(source, "", "", "must be one JSON object { ... }")])
    return data, [Problem(source, key, "", wrong) for key, wrong in _wrong_in(data)]


def _too_deep(clean: str) -> int | None:
    """Where a text nests deeper than any sensible file; None = nowhere."""
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(clean):
        if match[0] in "[{":
            depth += 1
        elif match[0] in "]}":
            depth -= 1
        if depth > MAX_DEPTH:
            return match.start()
    return None


def _whole(text: str) -> int | float:
    return int(text) if len(text) < 20 else number(text)  # int() refuses thousands of digits


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    pairs = [(key, value) for key, value in pairs if not key.startswith(REMARK)]
    made = _Object(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        made.repeated = tuple(key for key in made if keys.count(key) > 1)
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON knows")


def _wrong_in(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Dotted paths of keys that stand more than once, and of texts that cannot be sent."""
    if isinstance(value, _Object):
        prefix = f"{path}." if path else ""
        yield from ((prefix + key, "stands twice; keep one") for key in value.repeated)
        for key, inner in value.items():
            name = prefix + key.encode("ascii", "backslashreplace").decode()
            if wrong := unsendable(key):
                yield name, f"the key {wrong}"
            yield from _wrong_in(inner, name if wrong else prefix + key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _wrong_in(inner, f"{path}[{index}]")
    elif isinstance(value, str) and (wrong := unsendable(value)):
        yield path, wrong
