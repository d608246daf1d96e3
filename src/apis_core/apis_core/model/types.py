"""The vocabulary: enumerations and identifiers that every other module speaks.

Numbers of the enumerations are those of ``apis_interfaces`` (a test compares them), so that
translating is a cast.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import TypeAlias

__all__ = [
    "NOBODY",
    "Alarm",
    "ControlError",
    "ControlOperation",
    "ConverterError",
    "ConverterMode",
    "DealState",
    "Direction",
    "FaultCategory",
    "FaultExtent",
    "FaultLevel",
    "GridMasterStrategy",
    "InterchangeError",
    "Meter",
    "OperationMode",
    "SelectionStrategy",
    "StopCause",
    "SubmitError",
    "UnitId",
]

UnitId: TypeAlias = str
NOBODY: UnitId = ""


class OperationMode(IntEnum):
    """What a unit may do. ``UNSET`` exists only as a local mode: follow the global one."""

    UNSET = 0
    RUN = 1  # autonomous
    SOFT_STOP = 2  # heteronomous
    FORCE_STOP = 3  # stop
    MANUAL = 4


class ConverterMode(IntEnum):
    """What a DC/DC converter does."""

    UNKNOWN = 0
    WAIT = 1
    VOLTAGE_REFERENCE = 2
    DISCHARGE = 3
    CHARGE = 4

    @property
    def is_active(self) -> bool:
        """Whether the converter may be energised.

        An unknown mode counts as active: when in doubt, it is on.
        """
        return self is not ConverterMode.WAIT


class Alarm(IntEnum):
    """What a converter says of its own health."""

    UNKNOWN = 0
    NONE = 1
    LIGHT = 2
    HEAVY = 3


class StopCause(IntEnum):
    """Why a converter left its active mode by itself."""

    NONE = 0
    ENERGY_REACHED = 1
    HOLD_EXPIRED = 2
    TRIP = 3


class Direction(IntEnum):
    """A unit's own direction in a request, an accept or a deal."""

    CHARGE = 1
    DISCHARGE = 2

    @property
    def opposite(self) -> Direction:
        """The other side's direction."""
        return Direction.DISCHARGE if self is Direction.CHARGE else Direction.CHARGE

    @property
    def converter_mode(self) -> ConverterMode:
        """The mode in which a converter carries a current of this direction."""
        return ConverterMode.CHARGE if self is Direction.CHARGE else ConverterMode.DISCHARGE

    @property
    def control_operation(self) -> ControlOperation:
        """The order that makes a unit carry a current of this direction."""
        is_charge = self is Direction.CHARGE
        return ControlOperation.CHARGE if is_charge else ControlOperation.DISCHARGE


class DealState(IntEnum):
    """Where a deal stands. Numbers from ``COMPLETED`` on are ends: nothing follows them."""

    UNKNOWN = 0
    QUEUED = 1
    ACTIVATING = 2
    RAMPING_UP = 3
    STARTING = 4
    RUNNING = 5
    STOPPING = 6
    RELEASING = 7
    COMPLETED = 10
    ABORTED = 11
    SCRAMMED = 12

    @property
    def is_over(self) -> bool:
        """Whether the deal has ended, well or not."""
        return self >= DealState.COMPLETED


class Meter(IntEnum):
    """Which side of the reference unit's converter counts a deal's energy."""

    BATTERY = 0
    GRID = 1


class GridMasterStrategy(Enum):
    """Who should stand for grid master."""

    VOLTAGE_REFERENCE_UNIT = "voltageReferenceUnit"
    FIXED = "fixed"
    ANYWHERE = "anywhere"


class SelectionStrategy(Enum):
    """How a requester chooses among accepts."""

    AMOUNT = "amount"
    POINT_AND_AMOUNT = "pointAndAmount"
    VALUE = "value"


class FaultCategory(IntEnum):
    """Where a fault comes from."""

    UNKNOWN = 0
    HARDWARE = 1
    FRAMEWORK = 2
    LOGIC = 3
    USER = 4


class FaultExtent(IntEnum):
    """Whom a fault concerns."""

    UNKNOWN = 0
    LOCAL = 1
    GLOBAL = 2


class FaultLevel(IntEnum):
    """How bad a fault is."""

    UNKNOWN = 0
    WARN = 1
    ERROR = 2
    FATAL = 3


class ControlOperation(IntEnum):
    """What a grid master orders a unit to do."""

    ACQUIRE = 1
    RELEASE = 2
    VOLTAGE_REFERENCE = 3
    CHARGE = 4
    DISCHARGE = 5
    CURRENT = 6
    VOLTAGE = 7
    WAIT = 8
    HOLD = 9
    WILL_HAND_OVER = 10
    WILL_TAKE_OVER = 11
    DID_HAND_OVER = 12
    DID_TAKE_OVER = 13
    ADOPT = 14


class ControlError(IntEnum):
    """Why a unit refuses its grid master.

    ``NO_ANSWER`` is what the grid master's own side says of silence.
    """

    NONE = 0
    NOT_MY_GRID_MASTER = 201
    OLD_TERM = 202
    UNKNOWN_DEAL = 203
    NO_SLOT = 204
    OTHER_DIRECTION = 205
    NOT_DEALING = 206
    OUT_OF_RANGE = 207
    CONVERTER = 208
    BUS_ENERGISED = 209
    NOT_READY = 210
    NO_ANSWER = 299


class ConverterError(IntEnum):
    """Why a driver refuses its unit. ``NO_ANSWER`` is what the unit's own side says of silence."""

    NONE = 0
    OLD_TERM = 101
    OUT_OF_RANGE = 102
    REFUSED = 103
    TIMEOUT = 104
    WRONG_MODE = 105
    BUS_ENERGISED = 106
    NO_ANSWER = 199


class SubmitError(IntEnum):
    """Why a grid master refuses a deal.

    ``NO_ANSWER`` is what the requester's own side says of silence.
    """

    NONE = 0
    NOT_GRID_MASTER = 301
    INVALID = 302
    NOT_DEALING = 303
    UNIT_REFUSED = 304
    CURRENT_LIMIT = 305
    TIMEOUT = 306
    NO_ANSWER = 399


class InterchangeError(IntEnum):
    """How a deal by hand can fail."""

    NONE = 0
    INVALID = 401
    REFUSED = 402
    ABORTED = 403
    CANCELLED = 404
    NO_GRID_MASTER = 405
