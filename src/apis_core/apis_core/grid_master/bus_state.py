"""The bus as its grid master steers it: its stage, who holds the voltage, at how many volts.

    OFF ─► ACTIVATING ─► RAMPING_UP ─► AUTHORISING ─► UP ─► ENDING ─► OFF
                                                     │  ▲
                                                     ▼  │
                                                HANDING_OVER

Every stage but OFF can go to ENDING. :class:`BusState` is what the machines share that bring the
bus up, hand it over and take it down.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from apis_core.config.policy import Policy
from apis_core.config.timing import DealTiming
from apis_core.converter.energy_limit import Sample
from apis_core.events import Effect
from apis_core.grid_master.pending_orders import PendingOrders
from apis_core.model.transitions import Transitions, check
from apis_core.model.types import NOBODY, ControlOperation, UnitId
from apis_core.model.units import NEVER_NS

__all__ = [
    "NO_HOLDER",
    "TRANSITIONS",
    "BusState",
    "Failure",
    "FailureKind",
    "Holder",
    "Stage",
]

_RAMP_POLLS = 4  # fresh polls a look, while the bus comes up


class Stage(Enum):
    """What is being done with the bus voltage."""

    OFF = auto()
    ACTIVATING = auto()
    RAMPING_UP = auto()
    AUTHORISING = auto()
    UP = auto()
    HANDING_OVER = auto()
    ENDING = auto()


_S = Stage

# A stage that is entered again from itself begins its time limit anew: the next voltage is tried,
# the next step of a hand-over is taken. Time alone moves only ENDING on; elsewhere it makes a
# failure, and the grid master, who hears of it, lets the voltage end ("deals").
TRANSITIONS: Final[Transitions[Stage]] = {
    _S.OFF: {_S.ACTIVATING: "deals", _S.UP: "adopt"},
    _S.ACTIVATING: {_S.RAMPING_UP: "answer", _S.ENDING: "deals"},
    _S.RAMPING_UP: {_S.AUTHORISING: "answer", _S.ENDING: "deals"},
    _S.AUTHORISING: {_S.AUTHORISING: "answer", _S.UP: "answer", _S.ENDING: "deals"},
    _S.UP: {_S.HANDING_OVER: "deals", _S.ENDING: "deals"},
    _S.HANDING_OVER: {_S.HANDING_OVER: "answer", _S.UP: "answer", _S.ENDING: "deals"},
    _S.ENDING: {_S.OFF: "answer, time"},
}


class FailureKind(Enum):
    """Where the reason of a failure lies."""

    UNIT = auto()  # a unit would not, or stopped
    BUS = auto()  # the bus itself is at fault
    UNPROVEN = auto()  # the voltage did not follow while it was tried


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the voltage is to be ended."""

    reason: str
    kind: FailureKind = FailureKind.UNIT


@dataclass(frozen=True, slots=True)
class Holder:
    """A unit that holds the voltage, or is to, and the deal in whose name it is ordered."""

    unit_id: UnitId
    deal_id: str


NO_HOLDER = Holder(NOBODY, "")


class BusState:
    """What is known of the bus, and the orders to the units that hold its voltage.

    Args:
        orders: Of the voltage reference, that are unanswered.
        policy: Of the cluster.
        timing: Times of running a deal.

    Attributes:
        stage: What is being done; changed by :meth:`enter`.
        holder: Who holds the voltage, or is to.
        sample: Its newest answer; None = none yet.
        voltage_v: What it is ordered to hold. [V]
        goal_v: Where the voltage is to go, step by step; None = it is there. [V]
        failure: Why the voltage is to be ended; None = nothing is wrong, or it was told already.
        is_watched: Whether its current is wanted at short intervals.
        due_ns: A reading that was asked for from then on must show the voltage.
        deadline_ns: When the stage has lasted too long.
        next_poll_ns: When the units are to be asked again.
        wake_ns: When the next of all that is due.
    """

    def __init__(self, orders: PendingOrders, policy: Policy, timing: DealTiming) -> None:
        self.stage = Stage.OFF
        self.holder = NO_HOLDER
        self.sample: Sample | None = None
        self.voltage_v = policy.grid_voltage_v
        self.goal_v: float | None = None
        self.failure: Failure | None = None
        self.is_watched = False
        self.due_ns = NEVER_NS
        self.deadline_ns = NEVER_NS
        self.next_poll_ns = NEVER_NS
        self.wake_ns = NEVER_NS
        self._orders = orders
        self._step_v = policy.grid_voltage_step_v
        self._timing = timing

    # --- the stage and its times -----------------------------------------------------------------

    def enter(self, stage: Stage, now_ns: int, limit_ns: int = NEVER_NS) -> None:
        """Begin a stage, or the present one anew.

        Args:
            stage: Which.
            now_ns: Present time.
            limit_ns: How long it may last; NEVER_NS = for ever. [ns]

        Raises:
            ProtocolMisuse: It does not follow the present one.
        """
        check(TRANSITIONS, self.stage, stage)
        self.stage = stage
        self.deadline_ns = now_ns + limit_ns if limit_ns < NEVER_NS else NEVER_NS
        if stage is Stage.OFF:
            self.holder, self.sample, self.is_watched = NO_HOLDER, None, False
        self.plan_poll(now_ns)
        self.arm()

    def expect_voltage(self, now_ns: int, limit_ns: int) -> None:
        """Give the bus a time in which it must reach the voltage.

        A unit that is asked after that may be silent for as long as its order lasts.
        """
        self.due_ns = now_ns + limit_ns
        self.deadline_ns = self.due_ns + self._timing.hold_ns

    def plan_poll(self, now_ns: int) -> None:
        """Set when the units are to be asked again, as often as the stage wants it."""
        timing = self._timing
        match self.stage:
            case Stage.AUTHORISING | Stage.UP:
                period_ns = timing.fresh_poll_ns
            case Stage.RAMPING_UP:  # what follows is to begin as soon as the bus is there
                period_ns = min(timing.quick_poll_ns, _RAMP_POLLS * timing.fresh_poll_ns)
            case _:
                period_ns = timing.quick_poll_ns
        is_quiet = self.stage is Stage.OFF or (self.stage is Stage.UP and not self.is_watched)
        self.next_poll_ns = NEVER_NS if is_quiet else now_ns + period_ns

    def arm(self) -> None:
        """Set the wake-up to what is due first."""
        self.wake_ns = min(self._orders.wake_ns, self.deadline_ns, self.next_poll_ns)

    def fail(self, reason: str, kind: FailureKind = FailureKind.UNIT) -> None:
        """Note why the voltage is to be ended."""
        self.failure = Failure(reason, kind)

    # --- orders ----------------------------------------------------------------------------------

    def awaited_units(self) -> set[UnitId]:
        """Units that owe an answer."""
        return self._orders.awaited_units()

    def ask(
        self,
        holder: Holder,
        operation: ControlOperation,
        now_ns: int,
        voltage_v: float | None = None,
    ) -> list[Effect]:
        """Give an order to a unit, in the name of a deal. [V]"""
        call = self._orders.ask(
            holder.unit_id, operation, holder.deal_id, now_ns, grid_voltage_v=voltage_v
        )
        self.arm()
        return [call]

    def order_voltage(self, now_ns: int) -> list[Effect]:
        """Order the present voltage of the unit that holds it."""
        return self.ask(self.holder, ControlOperation.VOLTAGE, now_ns, self.voltage_v)

    def step_voltage(self, now_ns: int) -> list[Effect]:
        """Go one step towards where the voltage is to be (the protocol, 8.3)."""
        gap_v = (self.goal_v or self.voltage_v) - self.voltage_v
        if abs(gap_v) > self._step_v:
            self.voltage_v += self._step_v if gap_v > 0.0 else -self._step_v
        else:
            self.voltage_v, self.goal_v = self.goal_v or self.voltage_v, None
        return self.order_voltage(now_ns)
