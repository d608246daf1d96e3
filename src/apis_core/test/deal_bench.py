"""A cluster whose operators want deals by hand: for tests of several deals at once.

Every converter carries 2.3 A and every deal 1 A, so that a unit has two slots. The bench itself
watches that the voltage is never held by two without droop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from simulated_cluster import SimulatedCluster

from apis_core.events import DealClosed, DealWanted, Event, ReplyReceived, RequestReceived
from apis_core.grid_master.snapshot import GridMasterSnapshot
from apis_core.model.messages import (
    ControlReply,
    ControlRequest,
    ConverterOrder,
    ConverterReply,
    Deal,
)
from apis_core.model.types import ConverterMode, DealState, Direction, OperationMode
from apis_core.model.units import s_from_ns

SOCS = {"E001": 0.9, "E002": 0.5, "E003": 0.5, "E004": 0.9}
CAPACITY_A = 2.3
M = ConverterMode


class DealBench(SimulatedCluster):
    """See the module's text.

    Attributes:
        references: Units that held the bus alone, one after the other.
        worst_reference_a: The most that any of them carried. [A]
        mishap: Answers a unit's order in its driver's place; None = the driver does.
        proxy: Answers an order of the grid master in the unit's place; None = the unit does.
        is_deaf: Whether an order of the grid master is lost on its way to a unit.
    """

    def __init__(self, socs: dict[str, float] = SOCS, **changes: object) -> None:
        self.references: list[str] = []
        self.worst_reference_a = 0.0
        self.mishap: Callable[[str, ConverterOrder], ConverterReply | None] = lambda *_: None
        self.proxy: Callable[[str, ControlRequest], ControlReply | None] = lambda *_: None
        self.is_deaf: Callable[[str, ControlRequest], bool] = lambda *_: False
        fields = {"deal_current_a": 1.0, "operation_mode": OperationMode.SOFT_STOP, **changes}
        super().__init__(socs, **fields)  # type: ignore[arg-type]
        self.watchers.append(lambda _: self._watch())
        self.run_for(10.0)

    # --- what a test does ------------------------------------------------------------------------

    def want(self, giver: str, taker: str, energy_wh: float, after_s: float = 30.0) -> str:
        """The giver's operator wants a deal; its id, after some time."""
        deal_id = f"{giver}-{taker}-{energy_wh:g}"
        self.feed(
            giver,
            DealWanted(
                deal_id=deal_id,
                peer_unit_id=taker,
                type=Direction.DISCHARGE,
                energy_wh=energy_wh,
                current_a=1.0,
            ),
        )
        self.run_for(after_s)
        return deal_id

    def finish(self, seconds: float = 3_000.0) -> dict[str, Deal]:
        """Wait until all deals are over; then nothing is on and no slot is held."""
        assert self.deals, "no deal has begun"
        all_over = self.run_until(
            lambda: all(deal.state.is_over for deal in self.deals.values()), seconds
        )
        assert all_over, "\n".join(self.trace[-40:])
        self.run_until(self.is_at_rest, 60.0)
        self.run_for(5.0)  # and nothing comes back
        assert self.modes() == {M.WAIT}
        assert not any(unit.slot_deals for unit in self.snapshots())
        return self.deals

    def is_at_rest(self) -> bool:
        """Whether nothing is on and no slot is held."""
        if self.modes() != {M.WAIT}:
            return False
        return not any(unit.slot_deals for unit in self.snapshots())

    def must_balance(self, *, stray_wh: float = 0.0, meters: float = 0.0) -> None:
        """All agreed energy came, nothing hung on the reference, and the journals say the same.

        Args:
            stray_wh: What other deals may have moved through a side's meter. [Wh]
            meters: By how much the meters themselves are wrong, 0..1.
        """
        for deal in self.finish().values():
            assert deal.state is DealState.COMPLETED, deal.reason
            more_wh = deal.moved_wh - deal.energy_wh
            # what flows in 0.2 s until an order is there counts in a small deal
            assert abs(more_wh) <= max(2e-3 * deal.energy_wh, 0.02), (more_wh, deal.reason)
            sent_wh, taken_wh = (self.counted_wh(unit_id, deal) for unit_id in sides(deal))
            margin_wh = (0.02 + meters) * taken_wh + stray_wh
            assert abs(sent_wh - taken_wh) <= margin_wh, (sent_wh, taken_wh)
        assert self.worst_reference_a <= CAPACITY_A

    # --- what it sees ----------------------------------------------------------------------------

    @property
    def master_id(self) -> str:
        """The grid master's unit."""
        (unit_id,) = self.leaders()
        return unit_id

    @property
    def grid_master(self) -> GridMasterSnapshot:
        """What the grid master does now."""
        grid_master = self.agents[self.master_id].grid_master
        assert grid_master is not None
        return grid_master

    def prefer(self, *large_capacity_unit_ids: str) -> None:
        """Give the grid master another list of large units while deals run.

        The policy says it from the start, and then another unit would hold the bus before.
        """
        grid_master = self.agents[self.master_id]._state.grid_master
        assert grid_master is not None
        grid_master._scheduler._policy = replace(
            self.policy, large_capacity_unit_ids=large_capacity_unit_ids
        )

    def state(self, deal_id: str) -> DealState:
        """Of a deal, as last published."""
        return self.deals[deal_id].state

    def current_a(self, unit_id: str) -> float:
        """What a unit's meter shows. [A]"""
        return self.plants[unit_id].reading.grid_current_a or 0.0

    def counted_wh(self, unit_id: str, deal: Deal) -> float:
        """What a unit's journal says of a deal that is closed. [Wh over its bus terminal]"""
        (entry,) = (
            record.entry
            for record in self.journals[unit_id]
            if isinstance(record.entry, DealClosed)
            and record.entry.receipt.deal_id == deal.deal_id
        )
        return entry.receipt.grid_moved_wh

    # --- the shell -------------------------------------------------------------------------------

    def _watch(self) -> None:
        on = [i for i, p in self.plants.items() if p.reading.mode is M.VOLTAGE_REFERENCE]
        stiff = [i for i in on if not self.plants[i].reading.droop_ratio]
        assert len(on) < 2 or not stiff, (
            f"at {s_from_ns(self.now_ns)} s {' and '.join(on)} hold the voltage, "
            f"without droop: {', '.join(stiff)}"
        )
        if len(on) == 1 and self.references[-1:] != on:
            self.references += on
        for unit_id in on:
            self.worst_reference_a = max(self.worst_reference_a, abs(self.current_a(unit_id)))

    def _deliver(self, sender: str, to: str, event: Event) -> None:
        if isinstance(event, RequestReceived) and isinstance(event.request, ControlRequest):
            if self.is_deaf(to, event.request):
                return
            reply = self.proxy(to, event.request)
            if reply is not None:
                super()._deliver(to, sender, ReplyReceived(event.requester.origin, reply))
                return
        super()._deliver(sender, to, event)

    def _obey(self, unit_id: str, order: ConverterOrder) -> ConverterReply:
        reply = self.mishap(unit_id, order)
        return reply if reply is not None else super()._obey(unit_id, order)


class Led(DealBench):
    """A bench of five whose grid master has no part in any deal.

    Attributes:
        a, b, c, d: The other units; each may give and take.
        leader_id: The first grid master.
    """

    def __init__(self, **changes: object) -> None:
        super().__init__(dict.fromkeys(["E001", "E002", "E003", "E004", "E005"], 0.6), **changes)
        self.leader_id = self.master_id
        self.a, self.b, self.c, self.d = (u for u in self.plants if u != self.leader_id)

    def lose(self) -> None:
        """The grid master's process is gone."""
        self.kill(self.leader_id)


def sides(deal: Deal) -> tuple[str, str]:
    """The giving unit and the taking one."""
    return deal.discharge_unit_id, deal.charge_unit_id


def once(condition: Callable[..., bool], reply: object) -> Callable[..., object]:
    """A mishap that happens the first time that the condition holds."""
    left = [reply]

    def happens(*args: object) -> object:
        return left.pop() if left and condition(*args) else None

    return happens
