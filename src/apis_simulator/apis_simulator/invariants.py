"""What must be true at every instant, whatever the schedule. See docs/simulator.md.

Size: one observer of one run; each rule needs what the others note down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from apis_core.config.policy import Policy
from apis_core.config.timing import Timing
from apis_core.model.messages import (
    ConverterOperation,
    ConverterOrder,
    ConverterReply,
    Deal,
    UnitStatus,
)
from apis_core.model.receipt import Receipt
from apis_core.model.types import ConverterError, ConverterMode, DealState, Direction, UnitId
from apis_core.model.units import SECOND_NS
from apis_core.unit.order_handler import WRITE_RATIO
from apis_core.unit.persisted_state import RESTARTED
from apis_emulator.driver import REFERENCE_GRACE_S
from apis_emulator.physics.converter import Converter
from apis_emulator.physics.plant import STIFF_STEP_S, Plant
from apis_simulator.faults import Profile
from apis_simulator.gateways import SharedBatteries
from apis_simulator.scenario_setup import CURRENT_ERROR_A, Pace, Rules

__all__ = ["Invariants", "Limits", "Violation", "limits_of"]

ENERGY_RATIO = 0.001  # of the agreed energy
BALANCE_WH = 0.01  # the plant's books may be out by so much ...
BALANCE_RATIO = 1e-4  # ... and this much of all that was sent
BOOKS_RATIO = 0.1  # of all energy: what strays is booked by one side only
BOOKED_RATIO = 1.25  # of all that was metered; what strays is assumed to have been as ordered
DEALS = 4  # that the policy lets flow at once
STRAY_S = 6.0  # until a reference knows that a current is none of its deals'
SCRAM_S = 2.0  # until a unit that has heard of a scram has taken its current off
RAMPS_S = 10.0  # a current and then the bus run down in this time
TRIP_V = 1.0  # a trip acts a sub-step late, and a bit


class Violation(Exception):
    """An invariant does not hold.

    Attributes:
        rule: Its number in docs/simulator.md.
        text: What was seen.
    """

    def __init__(self, rule: int, text: str) -> None:
        super().__init__(f"invariant {rule}: {text}")
        self.rule = rule
        self.text = text


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long things may take. [s]

    Attributes:
        after_death: From the death of a process until its converter is off.
        after_cut: From the loss of all contact until the converter is off.
        after_end: How long a converter may be on for a deal that is over.
        after_jump: How long two units may believe to be the grid master after a clock has jumped.
        after_scram: How long a current may flow after its unit has heard of a scram.
        reference_after_scram: How long a unit may hold the voltage after it has heard of one.
        after_lie: How long a converter may carry a current that it was not told to.
        unwritten_wh: The most that a process takes with it that was counted for a deal.
        stray_wh: The most that is booked for the wrong deal.
        late_wh: The most that a slow driver can let flow beyond the agreed energy.
        unruled_wh: The most that comes on top while one grid master is lost and the next comes.
    """

    after_death: float
    after_cut: float
    after_end: float
    after_jump: float
    after_scram: float
    reference_after_scram: float
    after_lie: float
    unwritten_wh: float
    stray_wh: float
    late_wh: float
    unruled_wh: float


def limits_of(policy: Policy, timing: Timing, profile: Profile, pace: Pace) -> Limits:
    """What follows from the policy, how bad the world is, and how often it is looked at."""
    deal_w = policy.grid_voltage_v * policy.deal_current_a
    driver_s = profile.slow_s + pace.driver_hold_s + REFERENCE_GRACE_S
    scram_s = policy.scram_reference_delay_ns / SECOND_NS
    lease_s = timing.election.lease_ns / SECOND_NS
    hold_s = timing.deal.hold_ns / SECOND_NS + lease_s + profile.straggle_s
    return Limits(
        after_death=driver_s + RAMPS_S,
        after_cut=hold_s + scram_s + driver_s + RAMPS_S,
        after_end=hold_s + scram_s + driver_s + RAMPS_S,
        after_jump=lease_s,
        after_scram=SCRAM_S + 2.0 * profile.slow_s + RAMPS_S,
        reference_after_scram=scram_s + 3.0 + 2.0 * profile.slow_s + RAMPS_S,
        after_lie=timing.debounce_ns / SECOND_NS
        + timing.force_stop_ns / SECOND_NS
        + driver_s
        + RAMPS_S,
        unwritten_wh=WRITE_RATIO * policy.deal_energy_max_wh + deal_w * driver_s / 3600.0,
        stray_wh=deal_w * STRAY_S / 3600.0,
        late_wh=deal_w * (2.0 * profile.slow_s + 1.0 + STRAY_S) / 3600.0,
        unruled_wh=deal_w * 2.0 * lease_s / 3600.0,
    )


class Invariants:
    """Looks at the plant after every step of it, and at what passes the borders.

    Args:
        plant: The hardware.
        rules: Limits that all units go by.
        limits: Limits of time.
    """

    def __init__(self, plant: Plant, rules: Rules, limits: Limits) -> None:
        self.plant = plant
        self._limits = limits
        hardware = rules.hardware
        self._unit_a = hardware.grid_current_capacity_a + hardware.grid_current_allowance_a
        # each is as far off as its two converters are, and as the compensation lets it be
        off_a = 2.0 * CURRENT_ERROR_A + rules.policy.compensation_drift_allowance_a
        self._sum_a = (rules.policy.total_deal_current_max_a or 1e9) + DEALS * off_a
        self._branches = [
            (branch, branch.capacity_a + DEALS * off_a) for branch in rules.policy.topology or ()
        ]
        self._due: dict[UnitId, tuple[float, str]] = {}  # must have been off by then, and why
        self._scrammed_s: dict[UnitId, float] = {}  # when units that are on heard of a scram
        self._driver_terms = dict.fromkeys(plant.units, 0)
        self._node_terms = dict.fromkeys(plant.units, 0)
        self._master: UnitId = ""
        self._over_s: dict[str, float] = {}
        self._terms: dict[str, set[int]] = {}  # under which each deal ran
        self._two_masters_until_s = 0.0
        self._lies: set[UnitId] = set()  # whose converters are off by more than the allowance
        self._lies_since_s: dict[UnitId, float] = {}  # of those that carry such a current
        self._allowance_a = hardware.grid_current_allowance_a
        self._forgotten_wh = 0.0
        self._books_ratio = 2.0 * CURRENT_ERROR_A / rules.policy.grid_current_step_a
        self.receipts: dict[str, dict[UnitId, Receipt]] = {}
        self.deals: dict[str, Deal] = {}
        self.settled_s = float("inf")  # from here on rule 2b holds; the faults are long over

    # --- the plant -------------------------------------------------------------------------------

    def step(self, now_s: float) -> None:
        """After every step of the plant that may have had something on."""
        plant = self.plant
        late_v = self._sum_a * STIFF_STEP_S / plant.capacitance_f
        if plant.voltage_v > plant.bus.over_voltage_trip_v + late_v + TRIP_V:
            raise Violation(4, f"the bus is at {plant.voltage_v:.1f} V")
        stiff, given_a, taken_a = [], 0.0, 0.0
        for unit_id, unit in plant.units.items():
            converter = unit.converter
            if not converter.is_active:
                if unit_id in self._due:
                    del self._due[unit_id]
                if unit_id in self._scrammed_s:
                    del self._scrammed_s[unit_id]
                continue
            current_a = abs(converter.current_a)
            if unit_id in self._lies and not converter.is_reference:
                self._check_lie(unit_id, now_s)
            elif current_a > self._unit_a:
                raise Violation(4, f"{unit_id} carries {current_a:.3f} A")
            given_a += max(-converter.current_a, 0.0)
            taken_a += max(converter.current_a, 0.0)
            if converter.is_reference and converter.droop_ratio == 0.0:
                stiff.append(unit_id)
            self._check_owner(unit_id, converter, now_s)
        if len(stiff) > 1:
            raise Violation(1, f"{' and '.join(stiff)} both regulate the voltage, without droop")
        for unit_id in list(self._lies_since_s):
            converter = plant.units[unit_id].converter
            # a reference carries what the others leave, whatever it is told
            if not converter.is_active or converter.is_reference:
                del self._lies_since_s[unit_id]
        if self._lies_since_s:
            return  # what it adds is nobody's fault but its own
        if min(given_a, taken_a) > self._sum_a:
            raise Violation(4, f"{given_a:.3f} A are given to the bus")
        stored_a = taken_a - given_a  # from the capacitance that each unit has on its terminals
        for branch, limit_a in self._branches:
            beyond = branch.backward_unit_ids
            current_a = sum([plant.units[u].converter.current_a for u in beyond])
            current_a -= stored_a * len(beyond) / len(plant.units)
            if abs(current_a) > limit_a:
                raise Violation(4, f"branch {branch.id} carries {current_a:.3f} A")

    def _check_lie(self, unit_id: UnitId, now_s: float) -> None:
        since_s = self._lies_since_s.setdefault(unit_id, now_s)
        if now_s - since_s > self._limits.after_lie:
            raise Violation(
                4, f"{unit_id} does not do what it is told since {since_s:.3f} s, and is still on"
            )

    def _check_owner(self, unit_id: UnitId, converter: Converter, now_s: float) -> None:
        due_s, why = self._due.get(unit_id, (float("inf"), ""))
        if now_s > due_s:
            raise Violation(2, f"{unit_id} is still {converter.mode.name}: {why}")
        if self._scrammed_s and unit_id in self._scrammed_s:
            limits, since_s = self._limits, self._scrammed_s[unit_id]
            is_last = converter.is_reference
            limit_s = limits.reference_after_scram if is_last else limits.after_scram
            if now_s > since_s + limit_s:
                raise Violation(
                    2,
                    f"{unit_id} is still {converter.mode.name}: it heard of a scram at "
                    f"{since_s:.3f} s",
                )

    def step_settled(self, now_s: float, deal_of: Callable[[UnitId], str]) -> None:
        """After every step with the faults long over: what is on belongs to a deal."""
        for unit_id, unit in self.plant.units.items():
            if not unit.converter.is_active or unit.converter.is_stopping:
                continue
            deal_id = deal_of(unit_id)
            over_s = self._over_s.get(deal_id)
            if deal_id not in self.deals or (
                over_s is not None and now_s > max(over_s, self.settled_s) + self._limits.after_end
            ):
                raise Violation(
                    2, f"{unit_id} is {unit.converter.mode.name} for no deal that runs: {deal_id}"
                )

    def check_balance(self) -> None:
        """What senders gave is what receivers got, plus what the lines lost, what is stored and
        what was burned.
        """
        plant = self.plant
        sent_wh = sum(unit.converter.discharged_wh for unit in plant.units.values())
        taken_wh = sum(unit.converter.charged_wh for unit in plant.units.values())
        stored_wh, lost_wh = plant.native.bus_stored_wh, plant.native.line_loss_wh
        gap_wh = sent_wh - taken_wh - lost_wh - stored_wh - plant.bled_wh
        if abs(gap_wh) > BALANCE_WH + BALANCE_RATIO * sent_wh:
            raise Violation(5, f"{gap_wh:.4f} Wh of {sent_wh:.3f} Wh sent are nowhere")

    # --- processes -------------------------------------------------------------------------------

    def died(self, unit_id: UnitId, now_s: float) -> None:
        """A process is gone."""
        self._must_be_off(unit_id, now_s + self._limits.after_death, now_s, "its process died")
        self._scrammed_s.pop(unit_id, None)  # its driver goes on until its hold time
        if self._master == unit_id:
            self._master = ""

    def scrammed(self, unit_id: UnitId, now_s: float) -> None:
        """A unit has heard of a fault for which nothing may flow."""
        if self.plant.units[unit_id].converter.is_active:
            self._scrammed_s[unit_id] = now_s

    def cut_off(self, unit_id: UnitId, now_s: float) -> None:
        """Nobody can reach a unit."""
        self._must_be_off(unit_id, now_s + self._limits.after_cut, now_s, "it was cut off")

    def back(self, unit_id: UnitId) -> None:
        """A unit that was cut off is reachable again."""
        if self._due.get(unit_id, (0.0, ""))[1].startswith("it was cut off"):
            del self._due[unit_id]

    def _must_be_off(self, unit_id: UnitId, due_s: float, now_s: float, why: str) -> None:
        before_s = self._due.get(unit_id, (float("inf"), ""))[0]
        if due_s < before_s:
            self._due[unit_id] = (due_s, f"{why} at {now_s:.3f} s, off was due by {due_s:.3f} s")

    def lies(self, unit_id: UnitId, off_a: float) -> None:
        """A converter is off by so much from now."""
        if off_a > self._allowance_a:
            self._lies.add(unit_id)
        else:
            self._lies.discard(unit_id)
            self._lies_since_s.pop(unit_id, None)

    def clock_jumped(self, now_s: float) -> None:
        """Whose clock has jumped may think that a lease has run out, which has not."""
        self._two_masters_until_s = now_s + self._limits.after_jump

    def forgot(self, unit_id: UnitId) -> None:
        """A unit has lost its journal."""
        self._node_terms[unit_id] = 0
        self._forgotten_wh += sum(
            deal.energy_wh
            for deal in self.deals.values()
            if unit_id in deal.unit_ids and unit_id not in self.receipts.get(deal.deal_id, {})
        )

    def believes(self, unit_id: UnitId, is_still: Callable[[UnitId], bool], now_s: float) -> None:
        """A unit believes that it is the grid master."""
        other = self._master
        is_second = other and other != unit_id and now_s >= self._two_masters_until_s
        if is_second and is_still(other):
            raise Violation(7, f"{other} and {unit_id} both believe to be the grid master")
        self._master = unit_id

    def shares(self, unit_id: UnitId, slots: set[Direction], batteries: SharedBatteries) -> None:
        """A unit that shares its battery has slots in these directions."""
        for direction in slots - batteries.ours(unit_id):
            whose = "the neighbour" if direction in batteries.neighbours(unit_id) else "nobody"
            raise Violation(
                8,
                f"{unit_id} has a slot to {direction.name.lower()}, a direction that "
                f"{whose} holds",
            )

    # --- orders ----------------------------------------------------------------------------------

    def granted(self, unit_id: UnitId, term: int) -> None:
        """A unit has written down that it gave its vote in a term."""
        if term < self._node_terms[unit_id]:
            raise Violation(3, f"{unit_id} gave its vote in term {term}, after a later one")
        self._node_terms[unit_id] = term

    def commanded(self, unit_id: UnitId, order: ConverterOrder) -> None:
        """A node orders its converter."""
        turns_on = order.operation is ConverterOperation.MODE and order.mode.is_active
        if turns_on and order.term < self._node_terms[unit_id]:
            known = self._node_terms[unit_id]
            raise Violation(3, f"{unit_id} obeys term {order.term}, but has granted {known}")

    def obeyed(self, unit_id: UnitId, order: ConverterOrder, reply: ConverterReply) -> None:
        """A driver answered."""
        if order.operation is ConverterOperation.READ or reply.error is not ConverterError.NONE:
            return
        newest = self._driver_terms[unit_id]
        is_wait = order.operation is ConverterOperation.MODE and order.mode is ConverterMode.WAIT
        if order.term < newest and not (is_wait and order.term == 0):
            raise Violation(3, f"the driver of {unit_id} obeyed term {order.term} after {newest}")
        self._driver_terms[unit_id] = max(newest, order.term)

    # --- deals -----------------------------------------------------------------------------------

    def check_books(self, *, undisturbed: bool) -> None:
        """At the end: what the givers have written down is what the takers have.

        Args:
            undisturbed: Nothing went wrong in this run, so it holds for each deal: converters are
                off by their own errors. Otherwise what strays from deals that break off flows in
                other deals' places, and it holds of all together.
        """
        sent_wh = taken_wh = 0.0
        lost_wh = self._forgotten_wh
        for deal in self.deals.values():
            receipts = self.receipts.get(deal.deal_id, {})
            gave, took = receipts.get(deal.discharge_unit_id), receipts.get(deal.charge_unit_id)
            if undisturbed and deal.state is DealState.COMPLETED:
                self._check_receipts(deal, gave, took)
            sent_wh += gave.grid_moved_wh if gave else 0.0
            taken_wh += took.grid_moved_wh if took else 0.0
            restarts = [r for r in receipts.values() if r.reason == RESTARTED]
            lost_wh += len(restarts) * self._limits.unwritten_wh
        if abs(sent_wh - taken_wh) > BOOKS_RATIO * max(sent_wh, taken_wh) + lost_wh:
            raise Violation(
                5, f"givers have written down {sent_wh:.1f} Wh, takers {taken_wh:.1f} Wh"
            )
        converters = [unit.converter for unit in self.plant.units.values()]
        metered_wh = sum(each.charged_wh + each.discharged_wh for each in converters)
        if sent_wh + taken_wh > BOOKED_RATIO * metered_wh + 2.0 * self._limits.late_wh:
            text = f"{sent_wh + taken_wh:.1f} Wh are booked, {metered_wh:.1f} Wh were metered"
            raise Violation(5, text)

    def _check_receipts(self, deal: Deal, gave: Receipt | None, took: Receipt | None) -> None:
        if gave is None or took is None:
            raise Violation(5, f"deal {deal.deal_id} is not in both journals")
        more_wh = gave.grid_moved_wh - took.grid_moved_wh
        if abs(more_wh) > self._books_ratio * deal.energy_wh + self._limits.stray_wh:
            raise Violation(
                5, f"in the giver's journal deal {deal.deal_id} has {more_wh:+.3f} Wh more"
            )

    def check_policies(self, statuses: Iterable[UnitStatus]) -> None:
        """At the end: all go by the same policy."""
        versions = {status.unit_id: status.policy_version for status in statuses}
        if len(set(versions.values())) > 1:
            raise Violation(7, f"versions of the policy differ in peace: {versions}")

    def wrote(self, unit_id: UnitId, receipt: Receipt) -> None:
        """A unit has written down what it counted for a deal."""
        self.receipts.setdefault(receipt.deal_id, {})[unit_id] = receipt

    def published(self, deal: Deal, now_s: float) -> None:
        """A grid master said how a deal stands."""
        before = self.deals.get(deal.deal_id)
        if before is not None:
            if (deal.term, deal.sequence) <= (before.term, before.sequence):
                raise Violation(5, f"deal {deal.deal_id} is published out of order")
            if before.state.is_over and deal.state is not before.state:
                raise Violation(
                    5, f"deal {deal.deal_id} was {before.state.name} and is {deal.state.name}"
                )
            if deal.term == before.term and deal.moved_wh < before.moved_wh:
                raise Violation(
                    5, f"deal {deal.deal_id} goes from {before.moved_wh} to {deal.moved_wh} Wh"
                )
        self.deals[deal.deal_id] = deal
        terms = self._terms.setdefault(deal.deal_id, set())
        terms.add(deal.term)
        if not deal.state.is_over:
            return
        self._over_s.setdefault(deal.deal_id, now_s)
        if deal.state is DealState.COMPLETED:
            more_wh = deal.moved_wh - deal.energy_wh
            margin_wh = ENERGY_RATIO * deal.energy_wh
            is_wrong = -more_wh > margin_wh or (more_wh > margin_wh and not deal.reason)
            unruled_wh = (len(terms) - 1) * self._limits.unruled_wh
            if is_wrong or more_wh > self._limits.late_wh + unruled_wh:
                text = f"deal {deal.deal_id} moved {deal.moved_wh:.4f} of {deal.energy_wh:g} Wh"
                raise Violation(5, text)
        elif not deal.reason:
            raise Violation(5, f"deal {deal.deal_id} is {deal.state.name} without a reason")
