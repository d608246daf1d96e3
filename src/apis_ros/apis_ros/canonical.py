"""The bytes of a message over which a signature goes.

The fields in the order of the definition, as in CDR (little endian, text and lists with their
length before them), but packed: CDR leaves open what stands in its padding. Every field called
``signature`` is left out, at any depth.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any

__all__ = ["canonical_bytes"]

_NUMBERS = {
    "boolean": "?", "octet": "B", "uint8": "B", "int8": "b", "uint16": "H", "int16": "h",
    "uint32": "I", "int32": "i", "uint64": "Q", "int64": "q", "float": "f", "double": "d",
}  # fmt: skip
_LENGTH = struct.Struct("<I")

_Writer = Callable[[Any, list[bytes]], None]


def canonical_bytes(message: Any) -> bytes:
    """The bytes that are signed.

    Args:
        message: A message of the graph, or the part of a service or an action.

    Raises:
        TypeError: It has a field of a kind that none of ours has.
    """
    out: list[bytes] = []
    _write(message, out)
    return b"".join(out)


def _write(message: Any, out: list[bytes]) -> None:
    type_: Any = type(message)
    for write in _writers(type_):
        write(message, out)


@cache
def _writers(type_: Any) -> tuple[_Writer, ...]:
    """How to write a message of a type; numbers that stand together go in one step."""
    writers: list[_Writer] = []
    names: list[str] = []
    codes = ""

    def flush() -> None:
        nonlocal codes
        if names:
            writers.append(_numbers(tuple(names), struct.Struct(f"<{codes}")))
        names.clear()
        codes = ""

    for name, kind in type_.get_fields_and_field_types().items():
        if name == "signature":
            continue
        if kind in _NUMBERS:
            names.append(name)
            codes += _NUMBERS[kind]
            continue
        flush()
        writers.append(_other(type_, name, kind))
    flush()
    return tuple(writers)


def _numbers(names: tuple[str, ...], layout: struct.Struct) -> _Writer:
    get = attrgetter(*names)
    if len(names) == 1:
        return lambda message, out: out.append(layout.pack(get(message)))
    return lambda message, out: out.append(layout.pack(*get(message)))


def _other(type_: type, name: str, kind: str) -> _Writer:
    get = attrgetter(name)
    if kind == "string":
        return lambda message, out: _text(get(message), out)
    if kind == "sequence<string>":

        def texts(message: Any, out: list[bytes]) -> None:
            items = get(message)
            out.append(_LENGTH.pack(len(items)))
            for item in items:
                _text(item, out)

        return texts
    if "/" in kind and "<" not in kind and "[" not in kind:
        return lambda message, out: _write(get(message), out)
    raise TypeError(f"{type_.__name__}.{name} is {kind}, which nothing that is signed has yet")


def _text(text: str, out: list[bytes]) -> None:
    data = text.encode("utf-8", "surrogateescape")
    out.append(_LENGTH.pack(len(data)))
    out.append(data)
