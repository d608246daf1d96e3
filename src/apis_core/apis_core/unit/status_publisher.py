"""When a unit publishes its status, and what the status says."""

from __future__ import annotations

from apis_core.model.messages import UnitStatus
from apis_core.unit.order_handler import OrderHandler
from apis_core.unit.policy_rollout import PolicyRollout
from apis_core.unit.unit_state import UnitState

__all__ = ["StatusPublisher"]


class StatusPublisher:
    """Decides when the status of one unit is published, and composes it.

    Args:
        state: The unit's state.
        order_handler: Knows the deals that are to end.
        roll_out: Knows the policy that is to come.
        now_ns: When the first is due.

    Attributes:
        due_ns: When the next is due if nothing changes.
        last: What was said last.
    """

    def __init__(
        self, state: UnitState, order_handler: OrderHandler, roll_out: PolicyRollout, now_ns: int
    ) -> None:
        self.due_ns = now_ns
        self.last: UnitStatus | None = None
        self._state = state
        self._order_handler = order_handler
        self._roll_out = roll_out
        self._sequence = 0
        self._change_key: tuple[object, ...] = ()

    def due_status(self, now_ns: int, *, is_grid_master: bool) -> UnitStatus | None:
        """The status, if it is due or something changed that others act upon."""
        change_key = self._change_key_now(now_ns, is_grid_master)
        if change_key == self._change_key and now_ns < self.due_ns:
            return None
        self._change_key = change_key
        self._sequence += 1
        self.due_ns = now_ns + self._state.timing.status_ns
        self.last = self._status(now_ns, is_grid_master)
        return self.last

    def _change_key_now(self, now_ns: int, is_grid_master: bool) -> tuple[object, ...]:
        """The fields of the status whose change is published at once; drifting values are not."""
        state, ending = self._state, self._order_handler.ending
        modes, election, converter = state.modes, state.election, state.converter
        reading = converter.reading
        return (
            modes.version,
            modes.global_mode,
            modes.local_mode,
            election.grid_master_id(now_ns),
            election.term,
            is_grid_master,
            state.policy_hash,
            self._roll_out.coming_hash,
            state.band,
            reading.mode,
            reading.stop_cause,
            converter.deal_ids,
            tuple(ending) if ending else (),
            state.interlock.deal_ids,
            state.faults.codes(),
            state.why_not_dealing(now_ns),
        )

    def _status(self, now_ns: int, is_grid_master: bool) -> UnitStatus:
        state, ending = self._state, self._order_handler.ending
        return UnitStatus(
            unit_id=state.unit_id,
            instance_id=state.instance_id,
            sequence=self._sequence,
            global_mode=state.modes.global_mode,
            global_mode_version=state.modes.version,
            local_mode=state.modes.local_mode,
            effective_mode=state.modes.effective,
            grid_master_id=state.election.grid_master_id(now_ns),
            term=state.election.term,
            is_grid_master=is_grid_master,
            policy_hash=state.policy_hash,
            policy_version=state.policy.version,
            coming_policy_hash=self._roll_out.coming_hash,
            soc_ratio=state.soc_ratio,
            remaining_wh=state.remaining_wh,
            capacity_wh=state.hardware.battery_capacity_wh,
            battery_band=state.band,
            committed_wh=state.interlock.committed_wh,
            efficient_grid_voltage_ratio=state.hardware.efficient_grid_voltage_ratio,
            converter=state.converter.reading,
            deal_ids=state.interlock.deal_ids,
            slot_capacity=state.interlock.capacity,
            flowing_deal_ids=state.converter.deal_ids,
            ending_deal_ids=tuple(ending),
            ending_reason=next((reason for reason, _ in ending.values()), ""),
            in_quarantine=bool(state.faults.why_not()),
            suspect_unit_ids=state.suspect_ids(now_ns),
            lost_unit_ids=state.lost_ids(now_ns),
            fault_codes=state.faults.codes(),
            not_dealing_reason=state.why_not_dealing(now_ns),
        )
