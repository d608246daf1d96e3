"""Brings a dead bus up, and proves that its reference holds it alone.

The reference is switched on, the bus ramps up, and then it must follow to voltages drawn by lot
and stay there (see `voltage_proof.py`). Only a reading can tell that it does not, one that was
asked for when the bus had had its time to follow. Silence and older readings mean that nothing is
known yet.
"""

from __future__ import annotations

from random import Random

from apis_core.config.policy import Policy
from apis_core.config.timing import DealTiming
from apis_core.events import Effect
from apis_core.grid_master.bus_state import BusState, FailureKind, Holder, Stage
from apis_core.grid_master.pending_orders import PendingOrder
from apis_core.grid_master.voltage_proof import VoltageProof
from apis_core.model.messages import ControlReply
from apis_core.model.types import NOBODY, ControlError, ControlOperation, ConverterMode, UnitId
from apis_core.model.units import NEVER_NS, SECOND_NS, s_from_ns

__all__ = ["BringUp", "fail_unless_it_holds"]

_TRIAL_NS = 30 * SECOND_NS  # for the bus to follow to a voltage that is set; drivers ramp
_NEAR_RATIO = 0.7  # of its voltage: from then on the bus is read more often
_Op = ControlOperation


class BringUp:
    """The stages from a dead bus to one that is up: ACTIVATING, RAMPING_UP, AUTHORISING.

    Args:
        bus: Its state.
        policy: Of the cluster.
        timing: Times of running a deal.
        random: For the voltages to try; injected so that a seed fixes them.
    """

    def __init__(self, bus: BusState, policy: Policy, timing: DealTiming, random: Random) -> None:
        self._bus = bus
        self._policy = policy
        self._timing = timing
        self._random = random
        self._proof: VoltageProof | None = None
        self._witness_id: UnitId = NOBODY

    def start(self, witness_id: UnitId, now_ns: int) -> list[Effect]:
        """Begin with the unit that is to hold the voltage.

        Args:
            witness_id: Whose meter must see the bus move, too; nobody = nobody else's.
            now_ns: Present time.
        """
        self._witness_id = witness_id
        self._await_voltage(Stage.ACTIVATING, now_ns, self._policy.ramp_up_timeout_ns)
        return self._switch_on(now_ns)

    def is_witness(self, unit_id: UnitId) -> bool:
        """Whether a unit only looks on while another one holds the voltage."""
        return unit_id == self._witness_id and unit_id != self._bus.holder.unit_id

    def hear_witness(self, call: PendingOrder, reply: ControlReply, now_ns: int) -> list[Effect]:
        """Take what the witness sees; it counts only during the proof."""
        is_good = self._bus.stage is Stage.AUTHORISING and reply.error is ControlError.NONE
        return self._weigh(call, reply, now_ns) if is_good else []

    def hear_reference(self, call: PendingOrder, reply: ControlReply, now_ns: int) -> list[Effect]:
        """Take what the unit answers that is to hold the voltage."""
        if reply.error is not ControlError.NONE:
            self._hear_refusal(call, reply)
            return []
        bus, bus_v = self._bus, reply.reading.grid_voltage_v
        if bus.stage is Stage.ACTIVATING and call.operation is _Op.VOLTAGE_REFERENCE:
            self._await_voltage(Stage.RAMPING_UP, now_ns, self._policy.ramp_up_timeout_ns)
        elif bus.stage is Stage.AUTHORISING and call.operation is _Op.VOLTAGE:
            if self._proof is not None:
                self._proof.note_set(now_ns)
            bus.expect_voltage(now_ns, _TRIAL_NS)
            bus.next_poll_ns = now_ns  # what it and its witness see is wanted as soon as can be
        elif call.operation is not _Op.HOLD or fail_unless_it_holds(bus, call, reply):
            return []
        elif bus.stage is Stage.AUTHORISING and bus.goal_v is None:
            return self._weigh(call, reply, now_ns)
        elif bus_v is not None and self._is_at_voltage(bus_v):
            is_up = bus.stage is Stage.RAMPING_UP
            return self._begin_proof(now_ns) if is_up else self._step_voltage(now_ns)
        elif call.asked_ns >= bus.due_ns:
            self._fail_to_follow()
        elif (bus_v or 0.0) >= _NEAR_RATIO * bus.voltage_v:
            bus.next_poll_ns = min(bus.next_poll_ns, now_ns + self._timing.fresh_poll_ns)
        return []

    def poll(self, busy: set[UnitId], now_ns: int) -> list[Effect]:
        """Ask what is to be known next.

        Args:
            busy: Units that owe an answer; they are not asked.
            now_ns: Present time.
        """
        bus, unit_id = self._bus, self._bus.holder.unit_id
        if bus.stage is Stage.AUTHORISING and (unit_id in busy or bus.due_ns < NEVER_NS):
            is_set = bus.goal_v is None and self._proof is not None and self._proof.is_set
            meters = {unit_id, self._witness_id if is_set else unit_id}
            effects: list[Effect] = []
            for meter_id in sorted(meters - busy - {NOBODY}):
                effects += bus.ask(Holder(meter_id, bus.holder.deal_id), _Op.HOLD, now_ns)
            return effects
        if unit_id in busy:
            return []
        if bus.stage is Stage.ACTIVATING:
            return self._switch_on(now_ns)
        if bus.stage is Stage.AUTHORISING:
            return self._order_voltage(now_ns)  # the order or its answer was lost
        return bus.ask(bus.holder, _Op.HOLD, now_ns)

    def too_late(self) -> None:
        """Note that a stage has lasted too long: somebody does not answer."""
        silent = " or ".join(sorted(self._bus.awaited_units() or {self._bus.holder.unit_id}))
        self._bus.fail(f"{silent} does not answer", FailureKind.UNPROVEN)

    # --- inside ----------------------------------------------------------------------------------

    def _switch_on(self, now_ns: int) -> list[Effect]:
        bus = self._bus
        return bus.ask(bus.holder, _Op.VOLTAGE_REFERENCE, now_ns, bus.voltage_v)

    def _hear_refusal(self, call: PendingOrder, reply: ControlReply) -> None:
        """Another source, or a bus that still decays, is waited for a while; so is silence."""
        if reply.error is ControlError.BUS_ENERGISED and self._bus.stage is Stage.ACTIVATING:
            if call.asked_ns >= self._bus.due_ns:
                self._bus.fail("the bus did not become free", FailureKind.BUS)
            return
        # a converter that is only read and does not answer just now is asked again
        is_poll = call.operation is _Op.HOLD and reply.error is ControlError.CONVERTER
        if not is_poll and reply.error is not ControlError.NO_ANSWER:
            self._bus.fail(f"{call.unit_id}: {reply.message}")

    def _weigh(self, call: PendingOrder, reply: ControlReply, now_ns: int) -> list[Effect]:
        """A meter was read while the bus is to stay at a voltage that is tried."""
        if self._proof is None:
            return []
        doubt = self._proof.hear(call.unit_id, reply.reading, call.asked_ns, now_ns)
        if self._proof.has_dwelt:
            return self._try_next(now_ns)
        if doubt and call.asked_ns >= self._bus.due_ns:
            self._bus.fail(doubt, FailureKind.UNPROVEN)
        return []

    def _fail_to_follow(self) -> None:
        """A reading shows the bus elsewhere, though it had its time."""
        bus = self._bus
        if bus.stage is Stage.RAMPING_UP:
            limit_s = s_from_ns(self._policy.ramp_up_timeout_ns)
            bus.fail(f"the bus did not reach its voltage within {limit_s:g} s", FailureKind.BUS)
            return
        bus.fail(
            f"the bus did not follow {bus.holder.unit_id} to {bus.voltage_v:g} V: "
            "another source holds it",
            FailureKind.UNPROVEN,
        )

    def _is_at_voltage(self, bus_v: float) -> bool:
        """Whether the bus is where its reference is to hold it."""
        gap_v = bus_v - self._bus.voltage_v
        allowance_v = self._policy.grid_voltage_allowance_v
        is_ramp = self._bus.stage is Stage.RAMPING_UP  # which may overshoot
        return gap_v >= -allowance_v and (is_ramp or gap_v <= allowance_v)

    def _begin_proof(self, now_ns: int) -> list[Effect]:
        """The reference's own meter sees the bus where it is to be."""
        unit_id = self._bus.holder.unit_id
        witness_ids = {self._witness_id} - {NOBODY, unit_id}
        self._proof = VoltageProof(
            self._policy, self._timing.dwell_ns, self._random, unit_id, witness_ids
        )
        return self._try_next(now_ns)

    def _try_next(self, now_ns: int) -> list[Effect]:
        self._bus.goal_v = self._proof.move_on() if self._proof is not None else None
        if self._bus.goal_v is None:
            self._proof = None
            self._bus.enter(Stage.UP, now_ns)
            return []
        self._await_voltage(Stage.AUTHORISING, now_ns, _TRIAL_NS)
        return self._step_voltage(now_ns)

    def _await_voltage(self, stage: Stage, now_ns: int, limit_ns: int) -> None:
        self._bus.enter(stage, now_ns)
        self._bus.expect_voltage(now_ns, limit_ns)

    def _step_voltage(self, now_ns: int) -> list[Effect]:
        self._doubt_voltage()
        return self._bus.step_voltage(now_ns)

    def _order_voltage(self, now_ns: int) -> list[Effect]:
        self._doubt_voltage()
        return self._bus.order_voltage(now_ns)

    def _doubt_voltage(self) -> None:
        """Until the unit says that the next voltage is set, no reading is held against it."""
        if self._bus.stage is Stage.AUTHORISING and self._proof is not None:
            self._bus.due_ns = NEVER_NS
            self._proof.await_setting()


def fail_unless_it_holds(bus: BusState, call: PendingOrder, reply: ControlReply) -> bool:
    """Whether a unit that was read holds the voltage no more; that is a failure."""
    if reply.reading.mode is ConverterMode.VOLTAGE_REFERENCE:
        return False
    why = reply.reading.stop_detail or "its converter went to WAIT by itself"
    bus.fail(f"{call.unit_id}: {why}")
    return True
