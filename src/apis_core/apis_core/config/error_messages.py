"""What pydantic says of a file, in the words of the file: key, value, and what is right."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from pydantic import ValidationError

from apis_core.model.errors import Problem

__all__ = [
    "NUMBER_LIMIT",
    "WHOLE_LIMIT",
    "expected",
    "problems_from_pydantic",
    "shorten",
    "suggestion",
]

JsonSchema: TypeAlias = Mapping[str, Any]

# Beyond, a number is a slip of the pen, and sums and messages overflow. Not told with every range.
NUMBER_LIMIT = 1_000_000_000.0
WHOLE_LIMIT = 10**15
_LIMITS = (NUMBER_LIMIT, WHOLE_LIMIT)


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean X?``, or nothing if no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def shorten(value: object) -> str:
    """A value as it stands in a file, cut to a length that a line can bear."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair
    return text if len(text) <= 60 else text[:57] + "..."


def _key_path(parts: Iterable[str | int]) -> str:
    """Dotted text of a path: ``units[2].house``."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def problems_from_pydantic(
    error: ValidationError, source: str, schema: JsonSchema, *, prefix: tuple[str | int, ...] = ()
) -> list[Problem]:
    """Our problems of pydantic's errors.

    Args:
        error: What pydantic found.
        source: The file's name, as the user gave it.
        schema: JSON schema of what was validated; says what would be right.
        prefix: Path of the validated part in its file.
    """
    found = []
    for item in error.errors(include_url=False):
        loc = item["loc"]
        if item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"]:
            continue  # pydantic counts only the entries that are right, and those have been told
        key, value = _key_path((*prefix, *loc)), shorten(item["input"])
        if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            siblings = _schema_at(schema, loc[:-1]).get("properties", {})
            right = f"unknown key{suggestion(str(loc[-1]), siblings)}"
        elif item["type"] in ("missing", "missing_argument"):
            value, right = "", f"required: {expected(_schema_at(schema, loc))}"
        elif item["type"] == "value_error":
            right = str(item["ctx"]["error"])
        else:
            wanted = expected(_schema_at(schema, loc))
            right = f"must be {wanted}{_limit_text(item)}" if wanted else item["msg"]
        found.append(Problem(source, key, value, right))
    return found


def _schema_at(schema: JsonSchema, loc: tuple[str | int, ...]) -> JsonSchema:
    """The part of a schema that describes what stands at `loc`; empty if there is none."""
    definitions = schema.get("$defs", {})
    part: Any = _resolved(schema, definitions)
    for step in loc:
        if isinstance(step, int):
            heads = part.get("prefixItems", [])
            inner = heads[step] if step < len(heads) else part.get("items", {})
        else:
            inner = part.get("properties", {}).get(step) or part.get("additionalProperties")
        part = _resolved(inner if isinstance(inner, Mapping) else {}, definitions)
    return part if isinstance(part, Mapping) else {}


def _resolved(schema: JsonSchema, definitions: Mapping[str, Any]) -> JsonSchema:
    if "anyOf" in schema:  # of ours, always "something or null"
        schema = next((s for s in schema["anyOf"] if s.get("type") != "null"), {})
    name = schema.get("$ref", "").rpartition("/")[2]
    return definitions[name] if name else schema


def expected(schema: JsonSchema) -> str:
    """What a schema asks for, for people."""
    kind = schema.get("type")
    if kind == "object":
        return "an object { ... }"
    if "enum" in schema:  # before the description, which is the docstring of the enumeration
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "description" in schema:
        return str(schema["description"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if kind in ("number", "integer"):
        return ("a whole number" if kind == "integer" else "a number") + _range_text(schema)
    if kind == "array":
        if heads := schema.get("prefixItems"):
            return f"a list: {', '.join(map(expected, heads))}"
        of = expected(schema.get("items", {}))
        return (
            "a list" + (" of at least one" if schema.get("minItems") else "") + (of and f": {of}")
        )
    return {"boolean": "true or false", "string": "text"}.get(str(kind), "")


def _limit_text(item: Mapping[str, Any]) -> str:
    """The limit of all numbers, for one that goes beyond it."""
    bound = item.get("ctx", {}).get("le", item.get("ctx", {}).get("ge"))
    return f", not beyond {_plain(bound)}" if _is_limit(bound) else ""


def _is_limit(bound: object) -> bool:
    return isinstance(bound, (int, float)) and abs(bound) in _LIMITS


def _plain(bound: float) -> str:
    """A bound without an exponent, if it is a whole number."""
    return str(int(bound)) if float(bound).is_integer() else f"{bound:g}"


def _range_text(schema: JsonSchema) -> str:
    schema = {name: bound for name, bound in schema.items() if not _is_limit(bound)}
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" from {_plain(low)} to {_plain(high)}"
    words = {
        "minimum": "of at least",
        "exclusiveMinimum": "greater than",
        "maximum": "of at most",
        "exclusiveMaximum": "less than",
    }
    bounds = [f"{word} {_plain(schema[name])}" for name, word in words.items() if name in schema]
    return " " + " and ".join(bounds) if bounds else ""
