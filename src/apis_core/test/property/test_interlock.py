from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from apis_core.model.messages import Deal
from apis_core.model.types import ControlError, Direction
from apis_core.trading.interlock import Interlock

directions = st.sampled_from(Direction)
times = st.integers(0, 100)
energies = st.floats(1.0, 1e4)


class InterlockMachine(RuleBasedStateMachine):
    """Beside the interlock stands a dumb list of what should be in it."""

    ids = Bundle("ids")

    @initialize(capacity=st.integers(0, 3))
    def begin(self, capacity):
        self.lock = Interlock(capacity)
        self.capacity = capacity
        self.expected: dict[str, tuple[Direction, float, int, bool]] = {}

    @rule(target=ids, number=st.integers(0, 10**6))
    def name(self, number):
        return f"deal {number}"

    @rule(deal_id=ids, direction=directions, energy_wh=energies, until_ns=times)
    def reserve(self, deal_id, direction, energy_wh, until_ns):
        if deal_id in self.expected:
            return  # a request has a new id
        others = {slot[0] for slot in self.expected.values()}
        has_room = len(self.expected) < self.capacity and others <= {direction}
        assert (self.lock.reserve(deal_id, direction, energy_wh, until_ns) == "") is has_room
        if has_room:
            self.expected[deal_id] = (direction, energy_wh, until_ns, False)

    @rule(deal_id=ids, direction=directions, energy_wh=energies, until_ns=times)
    def acquire(self, deal_id, direction, energy_wh, until_ns):
        deal = Deal(
            deal_id=deal_id,
            request_unit_id="A",
            accept_unit_id="B",
            discharge_unit_id="A",
            charge_unit_id="B",
            energy_wh=energy_wh,
            current_a=1.0,
        )
        others = [slot for key, slot in self.expected.items() if key != deal_id]
        error, reason = self.lock.acquire(deal, direction, until_ns)
        if any(slot[0] is not direction for slot in others):
            assert error is ControlError.OTHER_DIRECTION
        elif len(others) >= self.capacity:
            assert error is ControlError.NO_SLOT
        else:
            assert error is ControlError.NONE
            self.expected[deal_id] = (direction, energy_wh, until_ns, True)
        assert bool(reason) is (error is not ControlError.NONE)

    @rule(deal_id=ids)
    def release(self, deal_id):
        slot = self.lock.release(deal_id)
        assert (slot is not None) is (self.expected.pop(deal_id, None) is not None)

    @rule(now_ns=times)
    def let_go_what_expired(self, now_ns):
        expired = self.lock.expired(now_ns)
        assert set(expired) == {key for key, slot in self.expected.items() if slot[2] <= now_ns}
        for deal_id in expired:
            self.lock.release(deal_id)
            del self.expected[deal_id]

    @invariant()
    def the_slots_are_those_expected(self):
        held = {key for key, slot in self.expected.items() if slot[3]}
        assert {deal.deal_id for deal in self.lock.deals} == held
        assert {key for key in self.expected if self.lock.held(key) is not None} == held
        assert self.lock.wake_ns == min(
            (slot[2] for slot in self.expected.values()), default=2**63 - 1
        )

    @invariant()
    def never_more_than_there_are_and_never_both_directions(self):
        assert len(self.lock.deals) <= self.capacity
        assert len({slot[0] for slot in self.expected.values()}) <= 1
        total_wh = sum(slot[1] for slot in self.expected.values())
        charges = any(slot[0] is Direction.CHARGE for slot in self.expected.values())
        assert self.lock.committed_wh == pytest.approx(total_wh if charges else -total_wh)


TestInterlock = InterlockMachine.TestCase
TestInterlock.settings = settings(max_examples=60, stateful_step_count=25)
