"""In which order settings change when a converter changes its mode.

The table is the hardware document's (``driver-protocols`` D1), keyed by the mode that is *read*
from the converter. From WAIT nothing may start with stale set points; to WAIT, power goes off
first; from a current to the voltage the discharge ceiling goes first, so that the bus is not
driven to it, and the current limit is raised only when the voltage is under control. From the
voltage to a current, which the document leaves out and a hand-over needs, the current is set
first (else it would start with the limit), and the ceiling only once the voltage is let go.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from apis_core.model.types import ConverterMode

__all__ = ["Step", "steps_between"]


class Step(Enum):
    """One setting of a converter."""

    VOLTAGE = auto()
    CURRENT = auto()
    MODE = auto()


_M, _S = ConverterMode, Step
_FROM_WAIT = (_S.VOLTAGE, _S.CURRENT, _S.MODE)
_TO_WAIT = (_S.MODE, _S.VOLTAGE, _S.CURRENT)
_SAME = (_S.VOLTAGE, _S.CURRENT)  # new set points, and its counting begins anew

SEQUENCES: Mapping[tuple[ConverterMode, ConverterMode], tuple[Step, ...]] = {
    (_M.WAIT, _M.WAIT): _TO_WAIT,
    (_M.WAIT, _M.DISCHARGE): _FROM_WAIT,
    (_M.WAIT, _M.CHARGE): _FROM_WAIT,
    (_M.WAIT, _M.VOLTAGE_REFERENCE): _FROM_WAIT,
    (_M.DISCHARGE, _M.WAIT): _TO_WAIT,
    (_M.DISCHARGE, _M.DISCHARGE): _SAME,
    (_M.DISCHARGE, _M.VOLTAGE_REFERENCE): (_S.VOLTAGE, _S.MODE, _S.CURRENT),
    (_M.CHARGE, _M.WAIT): _TO_WAIT,
    (_M.CHARGE, _M.CHARGE): _SAME,
    (_M.CHARGE, _M.VOLTAGE_REFERENCE): (_S.VOLTAGE, _S.MODE, _S.CURRENT),
    (_M.VOLTAGE_REFERENCE, _M.WAIT): _TO_WAIT,
    (_M.VOLTAGE_REFERENCE, _M.DISCHARGE): (_S.CURRENT, _S.MODE, _S.VOLTAGE),
    (_M.VOLTAGE_REFERENCE, _M.CHARGE): (_S.CURRENT, _S.MODE, _S.VOLTAGE),
    (_M.VOLTAGE_REFERENCE, _M.VOLTAGE_REFERENCE): _SAME,
    (_M.UNKNOWN, _M.WAIT): _TO_WAIT,
}


def steps_between(now: ConverterMode, wanted: ConverterMode) -> tuple[Step, ...] | None:
    """The settings of a change of mode in their order; None = it must go through WAIT."""
    return SEQUENCES.get((now, wanted))
