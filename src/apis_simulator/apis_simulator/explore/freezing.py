"""Freezes agents: into bytes that can be thawed, and into a digest that equal agents share.

An agent is a net of some hundred objects. Copying it with :mod:`copy` takes several
milliseconds; pickled, with the frozen values in it (messages, policies, ...) kept aside and named
by a number, it takes a tenth of that.

Two agents are equal if they differ only in the present time: an *instant*, a number near
``EPOCH_NS``, counts by its distance to it. Durations are far below that, and ``NEVER_NS`` is far
above.
"""

from __future__ import annotations

import copyreg
import importlib
import io
import marshal
import pickle
import pkgutil
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import blake2b
from operator import attrgetter
from types import MethodType
from typing import Any, TypeVar

import apis_core

__all__ = ["EPOCH_NS", "Freezer", "shifted"]

EPOCH_NS = 10**18  # "now", for all that is not inside an agent
_FIRST_NS, _LAST_NS = EPOCH_NS // 2, EPOCH_NS * 3 // 2  # of all that counts as an instant
_REMEMBERED = 200_000

V = TypeVar("V")


def shifted(value: V, by_ns: int) -> V:
    """A frozen value with all its instants so much later."""
    return _shifted(value, by_ns) if by_ns else value


def _shifted(value: Any, by_ns: int) -> Any:
    kind = type(value)
    if kind is int:
        return value + by_ns if _FIRST_NS < value < _LAST_NS else value
    if kind is tuple:
        moved = tuple([_shifted(each, by_ns) for each in value])
        return value if all(map(_is_same, moved, value)) else moved
    names = _frozen_names(kind)
    if names is None:
        return value
    before = [getattr(value, name) for name in names]
    after = [_shifted(each, by_ns) for each in before]
    if all(map(_is_same, before, after)):
        return value
    new = object.__new__(kind)
    for name, each in zip(names, after, strict=True):
        object.__setattr__(new, name, each)
    return new


def _is_same(a: object, b: object) -> bool:
    return a is b


def _latest_ns(value: Any) -> int:
    """The latest instant in a frozen value; 0 = there is none."""
    kind = type(value)
    if kind is int:
        return value if _FIRST_NS < value < _LAST_NS else 0
    if kind is tuple:
        return max(map(_latest_ns, value), default=0)
    names = _frozen_names(kind)
    return max([_latest_ns(getattr(value, name)) for name in names], default=0) if names else 0


_names: dict[type, tuple[str, ...] | None] = {}


def _frozen_names(kind: type) -> tuple[str, ...] | None:
    """The fields of a frozen dataclass; None = it is none."""
    if kind not in _names:
        is_frozen = is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
        _names[kind] = tuple(field.name for field in fields(kind)) if is_frozen else None
    return _names[kind]


def _frozen_kinds() -> list[type]:
    """All frozen dataclasses of the core."""
    kinds = set()
    for module in pkgutil.walk_packages(apis_core.__path__, "apis_core."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and _frozen_names(value) is not None:
                kinds.add(value)
    return sorted(kinds, key=lambda kind: (kind.__module__, kind.__qualname__))


class Freezer:
    """Freezes, thaws and compares agents. What one has frozen, no other one can thaw."""

    def __init__(self) -> None:
        self._values: list[Any] = []  # frozen values, their latest instant at EPOCH_NS
        self._numbers: dict[Any, int] = {}
        self._known: dict[int, tuple[Any, int, int]] = {}  # by id(): value, number, latest instant
        self._thawed: dict[tuple[int, int], Any] = {}
        self._table = copyreg.dispatch_table.copy()
        self._walks: dict[type, Callable[[Any, list[Any]], None]] = {}
        self._now_ns = 0
        self._seen: dict[int, int] = {}
        for kind in _frozen_kinds():
            self._table[kind] = self._reduce
            self._walks[kind] = self._walk_frozen
        _thaw.freezers[id(self)] = self

    # --- bytes -----------------------------------------------------------------------------------

    def freeze(self, agent: Any) -> bytes:
        """An agent as bytes."""
        buffer = io.BytesIO()
        pickler = pickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL)
        pickler.dispatch_table = self._table
        pickler.dump(agent)
        return buffer.getvalue()

    def thaw(self, frozen: bytes) -> Any:
        """The agent again, as often as one likes."""
        return pickle.loads(frozen)

    def value(self, number: int, latest_ns: int) -> Any:
        """A frozen value by its number."""
        key = number, latest_ns
        value = self._thawed.get(key)
        if value is None:
            rest = self._values[number]
            value = shifted(rest, latest_ns - EPOCH_NS) if latest_ns else rest
            self._note(value, number, latest_ns)
        return value

    def _note(self, value: Any, number: int, latest_ns: int) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
            self._thawed.clear()
        self._known[id(value)] = value, number, latest_ns
        self._thawed.setdefault((number, latest_ns), value)

    def _numbered(self, value: Any) -> tuple[int, int]:
        """Number and latest instant of a frozen value."""
        known = self._known.get(id(value))
        if known is not None:
            return known[1], known[2]
        latest_ns = _latest_ns(value)
        rest = shifted(value, EPOCH_NS - latest_ns) if latest_ns else value
        try:
            number = self._numbers.setdefault(rest, len(self._values))
        except TypeError:  # a configuration with a dict in it; each is read once
            number = self._numbers.setdefault(id(rest), len(self._values))
        if number == len(self._values):
            self._values.append(rest)
        self._note(value, number, latest_ns)
        return number, latest_ns

    def _reduce(self, value: Any) -> tuple[Any, ...]:
        number, latest_ns = self._numbered(value)
        return _thaw, (id(self), number, latest_ns)

    # --- digest ----------------------------------------------------------------------------------

    def digest(self, agent: Any, now_ns: int) -> bytes:
        """What agents share that are equal but for the present time."""
        self._now_ns = now_ns
        self._seen.clear()
        said: list[Any] = []
        self._walk((agent,), said)
        return blake2b(marshal.dumps(said, _BY_VALUE), digest_size=16).digest()

    def _walk(self, values: Iterable[Any], said: list[Any]) -> None:
        """Say what values are, so that equal ones sound the same."""
        say, walks, now_ns = said.append, self._walks, self._now_ns
        for value in values:
            kind = type(value)
            if kind in _PLAIN:
                say(value)
            elif kind is int:
                say(("t", value - now_ns) if _FIRST_NS < value < _LAST_NS else value)
            else:
                walk = walks.get(kind)
                if walk is None:
                    walk = walks[kind] = self._walk_of(kind)
                walk(value, said)

    def _walk_of(self, kind: type) -> Callable[[Any, list[Any]], None]:
        if issubclass(kind, Enum):
            name = kind.__name__
            return lambda value, said: said.extend((name, value.value))
        if kind in (tuple, list, deque):
            return self._walk_sequence
        if kind in (set, frozenset):
            return self._walk_set
        if kind in (dict, OrderedDict):
            return self._walk_dict
        if kind is MethodType:
            return self._walk_method
        return self._walker_of_objects(kind)

    def _walk_frozen(self, value: Any, said: list[Any]) -> None:
        number, latest_ns = self._numbered(value)
        said += ("value", number, latest_ns - self._now_ns if latest_ns else None)

    def _walk_sequence(self, value: Any, said: list[Any]) -> None:
        said += ("sequence", len(value))
        self._walk(value, said)

    def _walk_set(self, value: Any, said: list[Any]) -> None:
        parts = []
        for each in value:
            part: list[Any] = []
            self._walk((each,), part)
            parts.append(repr(part))
        said += ("set", len(parts), *sorted(parts))

    def _walk_dict(self, value: Any, said: list[Any]) -> None:
        said += ("dict", len(value))
        if value:
            self._walk(value, said)
            self._walk(value.values(), said)

    def _walk_method(self, value: Any, said: list[Any]) -> None:
        said.append(value.__func__.__qualname__)
        self._walk((value.__self__,), said)

    def _walker_of_objects(self, kind: type) -> Callable[[Any, list[Any]], None]:
        slots = [
            name
            for base in kind.__mro__
            for name in _listed(base.__dict__.get("__slots__", ()))
            if name != "__dict__"
        ]
        get = attrgetter(*slots, "__class__") if slots else None
        seen, walk_all, name_of_kind = self._seen, self._walk, kind.__qualname__
        self._walks.setdefault(type, lambda value, said: said.append(value.__qualname__))

        def walk(value: Any, said: list[Any]) -> None:
            place = len(seen)
            before = seen.setdefault(id(value), place)
            if before != place:
                said += ("again", before)
                return
            said.append(name_of_kind)
            if get is not None:
                walk_all(get(value), said)
            own = getattr(value, "__dict__", None)
            if own:
                walk_all(own.values(), said)

        return walk


_BY_VALUE = 2  # the last version of marshal that does not care which equal strings are one object


_PLAIN = frozenset((str, float, bool, bytes, type(None)))


def _listed(slots: str | tuple[str, ...]) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


class _Thaw:
    """Found by :mod:`pickle` under its name."""

    def __init__(self) -> None:
        self.freezers: dict[int, Freezer] = {}

    def __call__(self, freezer: int, number: int, latest_ns: int) -> Any:
        return self.freezers[freezer].value(number, latest_ns)

    def __reduce__(self) -> str:
        return "_thaw"


_thaw = _Thaw()
