"""What tests of one deal share: a machine, the time, and units that do as they are told."""

from __future__ import annotations

from dataclasses import replace

from apis_core.config.timing import DealTiming
from apis_core.converter.energy_limit import Sample
from apis_core.events import Call
from apis_core.grid_master.deal.machine import DealMachine
from apis_core.grid_master.deal.transitions import Phase
from apis_core.model.messages import ControlReply, ConverterReading, Deal
from apis_core.model.types import ControlOperation, ConverterMode, StopCause
from apis_core.model.units import SECOND_NS

S = SECOND_NS
TIMING = DealTiming(
    poll_ns=5 * S,
    quick_poll_ns=1 * S,
    fresh_poll_ns=S // 20,
    dwell_ns=S // 4,
    answer_ns=2 * S,
    hold_ns=15 * S,
)
GIVER, TAKER = "E001", "E002"
WAIT = ConverterMode.WAIT
Op = ControlOperation


class Run:
    """A machine, the time, and the orders that it has given and nobody has answered."""

    def __init__(self, policy, **changes) -> None:
        self.now_ns = 1_000 * S
        deal = Deal(
            deal_id="d",
            request_unit_id=TAKER,
            accept_unit_id=GIVER,
            discharge_unit_id=GIVER,
            charge_unit_id=TAKER,
            energy_wh=50.0,
            current_a=2.0,
            term=1,
            grid_master_id="E003",
        )
        self.machine = DealMachine(replace(deal, **changes), policy, TIMING, self.now_ns)
        self.reference = TAKER
        self.open: list[Call] = []
        self.modes = {GIVER: WAIT, TAKER: WAIT}
        self.shares = {GIVER: 0.0, TAKER: 0.0}

    @property
    def orders(self) -> list[tuple[str, ControlOperation]]:
        return [(call.to, call.request.operation) for call in self.open]

    def take(self, effects) -> None:
        self.open += effects

    def answer(self, operation=None, unit_id=None, **reply) -> None:
        """Answer the first open order (of that kind) as a healthy unit does, but for ``reply``."""
        call = next(
            c
            for c in self.open
            if operation in (None, c.request.operation) and unit_id in (None, c.to)
        )
        self.open.remove(call)
        if "error" not in reply:
            self._obey(call, reply.pop("mode", None))
        mode, share_a = self.modes[call.to], reply.pop("share_a", self.shares[call.to])
        sign = {ConverterMode.CHARGE: 1.0, ConverterMode.DISCHARGE: -1.0}.get(mode, 0.0)
        reading = ConverterReading(
            mode=mode,
            grid_current_a=reply.pop("current_a", sign * self.shares[call.to]),
            grid_current_setpoint_a=reply.pop("setpoint_a", self.shares[call.to]),
            stop_cause=reply.pop("cause", StopCause.NONE),
            stop_detail=reply.pop("detail", ""),
        )
        self.now_ns += S // 100
        share_a = share_a if mode is not WAIT else 0.0
        answer = ControlReply(reading=reading, deal_current_a=share_a, **reply)
        self.take(self.machine.answered(call.origin, answer, self.now_ns))

    def _obey(self, call: Call, mode: ConverterMode | None) -> None:
        operation, unit_id = call.request.operation, call.to
        is_reference = self.modes[unit_id] is ConverterMode.VOLTAGE_REFERENCE
        if operation in (Op.DISCHARGE, Op.CHARGE, Op.CURRENT):
            self.shares[unit_id] = call.request.grid_current_a
        if not is_reference and operation in (Op.DISCHARGE, Op.CHARGE):
            self.modes[unit_id] = ConverterMode[operation.name]
        if operation is Op.WAIT:
            self.modes[unit_id], self.shares[unit_id] = WAIT, 0.0
        self.modes[unit_id] = mode or self.modes[unit_id]

    def wait(self) -> None:
        """Let time pass until the machine wants to be called."""
        self.now_ns = max(self.now_ns, self.machine.wake_ns)
        self.take(self.machine.tick(self.now_ns))
        calls = self.machine._progress.orders._pending
        self.open = [call for call in self.open if call.origin in calls]  # given up

    def to(self, phase: Phase) -> Run:
        """A healthy deal, up to a phase."""
        steps = {
            Phase.ACQUIRING: lambda: self.take(self.machine.acquire(self.now_ns)),
            Phase.QUEUED: lambda: (self.answer(), self.answer()),
            Phase.ACTIVATING: lambda: self.bus(Phase.ACTIVATING),
            Phase.RAMPING_UP: lambda: self.bus(Phase.RAMPING_UP),
            Phase.AUTHORISING: lambda: self.bus(Phase.AUTHORISING),
            Phase.STARTING: self.begin,
            Phase.COMPENSATING: self.start,
            Phase.RUNNING: lambda: (self.settle(), self.live()),
            Phase.STOPPING: lambda: (self.forget(), self.abort("enough")),
            Phase.LEAVING: lambda: self.answer(Op.WAIT),
            Phase.RELEASING: lambda: self.take(self.machine.left(self.now_ns)),
            Phase.OVER: lambda: (self.answer(Op.RELEASE), self.answer(Op.RELEASE)),
        }
        for name, step in steps.items():
            step()
            if name is Phase.COMPENSATING and self.machine._compensation.adjusted_side is None:
                continue
            assert self.machine.phase is name
            if name is phase:
                break
        return self

    def live(self) -> None:
        """Both units say how they are."""
        for unit_id in (GIVER, TAKER):
            self.machine.hear_unit(unit_id, self.now_ns)

    def bus(self, phase: Phase) -> None:
        self.modes[self.reference] = ConverterMode.VOLTAGE_REFERENCE
        self.machine.await_bus(self.reference, phase, self.now_ns)

    def see(self, **changes) -> None:
        """What the deal knows of the bus changes."""
        self.machine.see(replace(self.machine.bus, **changes))

    def begin(self) -> None:
        self.see(is_alone=True)
        self.take(self.machine.start(self.reference, self.now_ns))

    def start(self) -> None:
        """Both sides do as they are told."""
        while self.machine.phase is Phase.STARTING:
            self.answer() if self.open else self.wait()
        self.forget()

    def settle(self, current_a: float = 2.0, target_a: float = 2.0) -> None:
        """The reference is read twice, with the same current."""
        self.hear_reference(current_a, target_a)
        self.hear_reference(current_a, target_a)

    def hear_reference(self, current_a: float, target_a: float = 2.0) -> None:
        self.now_ns += S
        reading = ConverterReading(mode=ConverterMode.VOLTAGE_REFERENCE, grid_current_a=current_a)
        sample = Sample(ControlReply(reading=reading), self.now_ns - S // 100, self.now_ns)
        self.take(self.machine.hear_reference(sample, target_a, self.now_ns))

    def forget(self) -> None:
        """Polls that are under way are of no interest."""
        self.open.clear()
        self.machine._progress.orders._pending.clear()

    def abort(self, reason: str) -> None:
        self.take(self.machine.abort(reason, self.now_ns))

    def end(self) -> Deal:
        """Answer everything until it is over; the grid master sees to the reference."""
        while self.machine.phase is not Phase.OVER:
            if self.machine.phase is Phase.LEAVING:
                self.modes[self.reference] = WAIT
                self.forget()
                self.take(self.machine.left(self.now_ns))
            elif self.open:
                self.answer()
            else:
                self.wait()
        return self.machine.record()
