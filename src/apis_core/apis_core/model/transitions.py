"""The table of a machine: which changes of its state there are, and what brings each about.

Each machine has one such table beside its states, and asks :func:`check` before every change. The
diagrams of ``docs/state-diagrams.md`` are drawn from the tables. A test lets the machines run and
compares: every row is reached, and nothing else is.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from apis_core.model.errors import ProtocolMisuse

__all__ = ["Transitions", "check"]

_State = TypeVar("_State", bound=Enum)

# before -> after -> what brings the change about, as the diagrams show it ("answer, time").
# Every state has a row. A state that may be entered again from itself says so.
Transitions = Mapping[_State, Mapping[_State, str]]


def check(table: Transitions[_State], before: _State, after: _State) -> None:
    """Refuse a change of state that is not in a machine's table.

    Raises:
        ProtocolMisuse: It is not; our own code has a fault.
    """
    if after not in table[before]:
        allowed = ", ".join(state.name for state in table[before]) or "nothing"
        raise ProtocolMisuse(
            f"{type(before).__name__} goes from {before.name} to {after.name}; "
            f"its table allows {allowed}"
        )
