"""What tests of the grid master share: deals, statuses, faults, and a bench to take them in."""

from __future__ import annotations

from random import Random

from apis_core.config.timing import Timing
from apis_core.events import Answer, Broadcast, Call, PublishFault
from apis_core.grid_master.grid_master import GridMaster
from apis_core.model.messages import ControlReply, ConverterReading, Deal, Fault, UnitStatus
from apis_core.model.types import (
    ControlOperation,
    ConverterMode,
    DealState,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    OperationMode,
)
from apis_core.model.units import SECOND_NS

S = SECOND_NS
NOW_NS = 1_000 * S
RUN = OperationMode.RUN
Op = ControlOperation


def deal(deal_id="d", giver="E001", taker="E002", **changes) -> Deal:
    fields = {"request_unit_id": taker, "accept_unit_id": giver, "energy_wh": 50.0}
    return Deal(
        deal_id=deal_id,
        discharge_unit_id=giver,
        charge_unit_id=taker,
        **{"current_a": 2.0, **fields, **changes},
    )


def status(unit_id, mode=ConverterMode.WAIT, deal_ids=(), effective=RUN) -> UnitStatus:
    return UnitStatus(
        unit_id=unit_id,
        instance_id=f"{unit_id}#1",
        sequence=1,
        global_mode=RUN,
        global_mode_version=1,
        local_mode=OperationMode.UNSET,
        effective_mode=effective,
        capacity_wh=4800.0,
        term=7,
        converter=ConverterReading(mode=mode),
        deal_ids=tuple(deal_ids),
    )


def fault(unit_id, extent=FaultExtent.LOCAL, level=FaultLevel.ERROR) -> Fault:
    return Fault(
        unit_id=unit_id,
        reporter_id=unit_id,
        category=FaultCategory.HARDWARE,
        extent=extent,
        level=level,
        code="trip",
        message="it tripped",
    )


class GridMasterBench:
    """A grid master, the time, and what it has ordered and published."""

    def __init__(self, policy, known_deals=()) -> None:
        self.now_ns = NOW_NS
        self.master = GridMaster(
            unit_id="E003",
            term=7,
            policy=policy,
            timing=Timing.of(policy),
            random=Random(1),
            known_deals={known.deal_id: known for known in known_deals},
            statuses={},
            heard_ns={},
            now_ns=NOW_NS,
        )
        self.calls: list[Call] = []
        self.published: dict[str, list[Deal]] = {}
        self.replies: dict[str, object] = {}
        self.raised: list[Fault] = []

    def take(self, effects) -> list:
        for effect in effects:
            match effect:
                case Call():
                    self.calls.append(effect)
                case Broadcast(message):
                    self.published.setdefault(message.deal_id, []).append(message)
                case Answer(requester, reply):
                    self.replies[requester] = reply
                case PublishFault(message):
                    self.raised.append(message)
        return effects

    def submit(self, submitted: Deal, mode=RUN, requester="c"):
        self.take(self.master.submit(requester, submitted, mode, self.now_ns))
        return self.replies.get(requester)

    def answer_all(self, **reply) -> None:
        """Answer what is open now, as units do whose converters are in WAIT."""
        calls, self.calls = self.calls, []
        self.now_ns += S // 100
        reading = ConverterReading(mode=ConverterMode.WAIT, grid_voltage_v=0.0)
        for call in calls:
            answer = ControlReply(reading=reading, **reply)
            self.take(self.master.answered(call.origin, answer, self.now_ns))

    def wait(self) -> None:
        """Let time pass until the master wants to be called."""
        self.now_ns = max(self.now_ns, self.master.wake_ns)
        self.take(self.master.tick(self.now_ns))

    def locked(self, submitted: Deal) -> GridMasterBench:
        self.submit(submitted, requester=f"submit {submitted.deal_id}")
        for _ in range(2):
            self.answer_all()
        return self

    def state(self, deal_id="d") -> DealState:
        return self.published[deal_id][-1].state

    def end(self, seconds: float = 600.0) -> None:
        end_ns = self.now_ns + round(seconds * S)
        while self.calls or (
            self.master.wake_ns < end_ns
            and any(not d[-1].state.is_over for d in self.published.values())
        ):
            if self.calls:
                self.answer_all()
            else:
                self.now_ns = max(self.now_ns, self.master.wake_ns)
                self.take(self.master.tick(self.now_ns))
