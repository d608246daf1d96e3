"""The commands to the own converter: pure functions that make them, and the table of open ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

from apis_core.config.hardware import Hardware
from apis_core.config.policy import Policy
from apis_core.converter.shares import Share
from apis_core.events import Command
from apis_core.model.messages import (
    ControlRequest,
    ConverterOperation,
    ConverterOrder,
    ConverterReading,
)
from apis_core.model.origin import Asker, Origin, Requester
from apis_core.model.types import ControlOperation, ConverterMode

__all__ = [
    "READ",
    "AskedOrder",
    "NextEnd",
    "OpenCommand",
    "OpenCommands",
    "counted_wh",
    "current_order",
    "mode_order",
    "reference_order",
    "renewal",
]

# What the sum of the shares still moves until the first of them ends, and the current after that.
# None = no share has an end. [Wh, A]
NextEnd = tuple[float | None, float | None]

READ = ConverterOrder(operation=ConverterOperation.READ)
_Op = ControlOperation
_LEAST_LIMIT_WH = 1e-6  # a driver takes no limit of 0


@dataclass(frozen=True, slots=True)
class AskedOrder:
    """An order of the grid master that a command carries out, and whom to answer."""

    requester: Requester
    request: ControlRequest


@dataclass(frozen=True, slots=True)
class OpenCommand:
    """A command that the driver has not answered.

    Attributes:
        order: To the driver.
        asked: Who waits for the outcome; None = nobody.
        is_lowering: Whether it takes the current of shares off that have ended.
    """

    order: ConverterOrder
    asked: AskedOrder | None
    is_lowering: bool

    @property
    def starts_mode(self) -> bool:
        """Whether the driver counts anew after it: it switches on, or changes what it does."""
        order = self.order
        return order.operation is ConverterOperation.MODE and order.mode is not ConverterMode.WAIT


class OpenCommands:
    """Gives commands their origins, and knows which are unanswered.

    Attributes:
        possible_modes: Active modes in which our orders may have left the converter: the one that
            was obeyed last, and each that was ordered since.
    """

    def __init__(self) -> None:
        self.possible_modes: set[ConverterMode] = set()
        self._open: dict[Origin, OpenCommand] = {}
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._open)

    @property
    def is_starting_mode(self) -> bool:
        """Whether one is to switch the converter on, or to change what it does."""
        return any(command.starts_mode for command in self._open.values())

    @property
    def is_lowering(self) -> bool:
        """Whether one is to lower the current."""
        return any(command.is_lowering for command in self._open.values())

    def find(self, origin: Origin) -> OpenCommand | None:
        """A command that is unanswered; None = it is not."""
        return self._open.get(origin)

    def give(
        self, order: ConverterOrder, asked: AskedOrder | None = None, *, is_lowering: bool = False
    ) -> Command:
        """Give an order to the driver."""
        self._count += 1
        origin = Origin(Asker.CONVERTER_MANAGER, self._count)
        command = self._open[origin] = OpenCommand(order, asked, is_lowering)
        if command.starts_mode:
            self.possible_modes.add(order.mode)
        return Command(origin, order)

    def obeyed(self, command: OpenCommand) -> None:
        """Take note that the driver has carried a command out."""
        if command.starts_mode:
            open_modes = {other.order.mode for other in self._open.values() if other.starts_mode}
            self.possible_modes = {command.order.mode, *open_modes}

    def pop(self, origin: Origin) -> OpenCommand | None:
        """The command that is answered; None = it was not open."""
        return self._open.pop(origin, None)


def mode_order(
    mode: ConverterMode,
    request: ControlRequest,
    total_a: float,
    end: NextEnd,
    policy: Policy,
    hold_s: float,
) -> ConverterOrder:
    """Carry a current in a mode that the converter is not in.

    Args:
        mode: CHARGE or DISCHARGE.
        request: The order of the grid master.
        total_a: The current of all shares together. [A]
        end: Where the first of them ends, counted from the beginning of the mode.
        policy: The policy of the cluster.
        hold_s: Hold time given to the driver. [s]
    """
    is_discharge = mode is ConverterMode.DISCHARGE
    until_wh, next_a = end
    return ConverterOrder(
        operation=ConverterOperation.MODE,
        mode=mode,
        grid_voltage_v=policy.grid_voltage_max_v if is_discharge else policy.grid_voltage_v,
        grid_current_a=total_a,
        energy_limit_wh=until_wh,
        next_current_a=next_a,
        hold_s=hold_s,
        term=request.term,
        grid_master_id=request.grid_master_id,
        deal_id=request.deal_id,
    )


def reference_order(
    request: ControlRequest, hardware: Hardware, grid_voltage_v: float | None, hold_s: float
) -> ConverterOrder:
    """Hold the voltage of the bus, or move it, or give it to another unit.

    Args:
        request: The order of the grid master.
        hardware: With the droop and the capacity of the converter.
        grid_voltage_v: The bus voltage as read last, to hold if none is ordered. [V]
        hold_s: Hold time given to the driver. [s]
    """
    operation, voltage_v = request.operation, request.grid_voltage_v
    order = ConverterOrder(
        operation=ConverterOperation.VOLTAGE,
        grid_voltage_v=voltage_v,
        hold_s=hold_s,
        term=request.term,
        grid_master_id=request.grid_master_id,
        deal_id=request.deal_id,
    )
    if operation is _Op.WILL_HAND_OVER:
        return replace(order, droop_ratio=hardware.droop_ratio)
    if operation in (_Op.VOLTAGE, _Op.DID_TAKE_OVER):
        return order
    is_first = operation is _Op.VOLTAGE_REFERENCE
    return replace(
        order,
        operation=ConverterOperation.MODE,
        mode=ConverterMode.VOLTAGE_REFERENCE,
        grid_voltage_v=grid_voltage_v if voltage_v is None else voltage_v,
        grid_current_a=hardware.grid_current_capacity_a,
        droop_ratio=0.0 if is_first else hardware.droop_ratio,
    )


def renewal(share: Share, end: NextEnd, moved_wh: float | None, hold_s: float) -> ConverterOrder:
    """Go on as ordered, with where the first of the shares ends.

    Args:
        share: In whose name it is ordered.
        end: Where the first of them ends, counted from now.
        moved_wh: What the driver has counted since its limit began to count; None = that is not
            known, or it counts nothing. [Wh]
        hold_s: Hold time given to the driver. [s]
    """
    until_wh, next_a = end
    limit_wh = None
    if until_wh is not None and moved_wh is not None:
        limit_wh = max(moved_wh + until_wh, _LEAST_LIMIT_WH)
    return ConverterOrder(
        operation=ConverterOperation.HOLD,
        energy_limit_wh=limit_wh,
        next_current_a=next_a if limit_wh is not None else None,
        hold_s=hold_s,
        term=share.term,
        grid_master_id=share.grid_master_id,
        deal_id=share.deal_id,
    )


def current_order(
    share: Share, total_a: float, end: NextEnd, moved_wh: float | None, hold_s: float
) -> ConverterOrder:
    """Carry another current in the mode that the converter is in; see :func:`renewal`."""
    order = renewal(share, end, moved_wh, hold_s)
    return replace(order, operation=ConverterOperation.CURRENT, grid_current_a=total_a)


def counted_wh(reading: ConverterReading) -> float:
    """Both counters of the bus terminal together. [Wh]"""
    return (reading.grid_charged_wh or 0.0) + (reading.grid_discharged_wh or 0.0)
