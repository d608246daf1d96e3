"""The simulator itself: the same again from a seed, and able to see what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pytest

from apis_core.model.messages import ConverterOperation, ConverterOrder, ConverterReply, Deal
from apis_core.model.receipt import Receipt
from apis_core.model.types import ConverterError, ConverterMode, DealState
from apis_simulator.__main__ import main
from apis_simulator.faults import PROFILES, Fault, FaultKind, plan
from apis_simulator.invariants import Invariants, Limits, Violation
from apis_simulator.network import Network
from apis_simulator.run import LEAST_HOURS, Case, run
from apis_simulator.scenario_setup import make_plant, make_rules

IDS = ["E001", "E002", "E003", "E004"]
LIMITS = Limits(
    after_death=20.0,
    after_cut=60.0,
    after_end=60.0,
    after_jump=20.0,
    after_scram=50.0,
    reference_after_scram=50.0,
    after_lie=50.0,
    unwritten_wh=2.0,
    stray_wh=0.5,
    late_wh=0.1,
    unruled_wh=0.3,
)
DEAL = Deal(
    deal_id="d",
    request_unit_id="E001",
    accept_unit_id="E002",
    discharge_unit_id="E001",
    charge_unit_id="E002",
    energy_wh=50.0,
    current_a=2.0,
    term=1,
    sequence=1,
    state=DealState.RUNNING,
)
COUNTS = (
    "from apis_simulator.run import Case, run\n"
    f"print(run(Case(3, 4, {LEAST_HOURS}, 'mixed')).digest)"
)


def test_a_seed_gives_the_same_trace_to_the_byte():
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", COUNTS],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
        )
        for hash_seed in ("1", "2")
    ]
    first, second = (done.communicate()[0] for done in runs)
    assert len(first.strip()) == 64
    assert first == second


def test_calm_units_deal():
    outcome = run(Case(1, 4, LEAST_HOURS, "calm"))
    assert outcome.reason == ""
    assert outcome.completed > 0


def test_a_failing_seed_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("apis_simulator.run.LIVENESS_S", 1.0)
    words = ["--seeds", "1", "--units", "3", "--hours", "0.5", "--profile", "calm", "--jobs", "1"]
    assert main([*words, "--interpreted", "--save", "--folder", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "invariant 7" in said
    assert "apisctl simtest --replay 1" in said
    assert [path.name for path in tmp_path.iterdir()] == ["calm-3-1.json"]


def test_a_plan_ends_before_its_end_and_is_the_same_again():
    profiles = [PROFILES["mixed"], PROFILES["gateway"], PROFILES["scram"]]
    plans = [[f for p in profiles for f in plan(p, IDS, 30_000.0, Random(5))] for _ in range(2)]
    assert plans[0] == plans[1]
    assert {fault.kind for fault in plans[0]} == set(FaultKind)
    assert all(fault.time_s + fault.lasts_s < 30_000.0 for fault in plans[0])


def test_a_partition_has_sides():
    network = Network(PROFILES["calm"], Random(1))
    both = Fault(0.0, FaultKind.CUT, ("E001",), 1.0, 0)
    mute = Fault(0.0, FaultKind.CUT, ("E002",), 1.0, 1)
    network.cut(both)
    network.cut(mute)
    assert network.delays_ns("E001", "E003") == network.delays_ns("E003", "E001") == ()
    assert network.delays_ns("E002", "E003") == ()
    assert network.delays_ns("E003", "E002") != ()
    assert network.is_alone("E001")
    assert not network.is_alone("E002")
    network.heal(both)
    assert network.is_open("E001", "E003")


# --- every invariant can fail --------------------------------------------------------------------


@pytest.fixture
def invariants() -> Invariants:
    return Invariants(make_plant(4, Random(1)), make_rules(4), LIMITS)


def turned_on(invariants: Invariants, unit_id: str, mode: ConverterMode, bus_v: float = 350.0):
    converter = invariants.plant.units[unit_id].converter
    converter.start(mode, bus_v=bus_v, energy_limit_wh=None)
    return converter


def test_two_voltages(invariants):
    turned_on(invariants, "E001", ConverterMode.VOLTAGE_REFERENCE)
    invariants.step(0.0)
    second = turned_on(invariants, "E002", ConverterMode.VOLTAGE_REFERENCE)
    second.droop_ratio = 0.04
    invariants.step(0.0)
    second.droop_ratio = 0.0
    with pytest.raises(Violation, match="invariant 1"):
        invariants.step(0.0)


def test_on_after_death(invariants):
    turned_on(invariants, "E001", ConverterMode.CHARGE)
    invariants.died("E001", 100.0)
    invariants.step(119.0)
    with pytest.raises(Violation, match="invariant 2"):
        invariants.step(121.0)


def test_off_in_time_is_enough(invariants):
    converter = turned_on(invariants, "E001", ConverterMode.CHARGE)
    invariants.died("E001", 100.0)
    converter.finish()
    invariants.step(110.0)
    turned_on(invariants, "E001", ConverterMode.CHARGE)
    invariants.step(200.0)


def test_on_for_nothing(invariants):
    turned_on(invariants, "E001", ConverterMode.CHARGE)
    with pytest.raises(Violation, match="invariant 2"):
        invariants.step_settled(0.0, lambda _unit_id: "nothing")


def test_old_terms(invariants):
    order = ConverterOrder(
        operation=ConverterOperation.MODE, mode=ConverterMode.CHARGE, term=4, hold_s=5.0
    )
    invariants.obeyed("E001", order, ConverterReply())
    older = replace(order, term=3)
    invariants.obeyed("E001", older, ConverterReply(error=ConverterError.OLD_TERM))
    with pytest.raises(Violation, match="invariant 3"):
        invariants.obeyed("E001", older, ConverterReply())
    invariants.granted("E002", 5)
    with pytest.raises(Violation, match="invariant 3"):
        invariants.commanded("E002", order)


@pytest.mark.parametrize("currents_a", [(2.5,), (2.2, 2.2, -2.2, -2.2)])
def test_too_much_current(invariants, currents_a):
    for unit_id, current_a in zip(IDS, currents_a, strict=False):
        turned_on(invariants, unit_id, ConverterMode.CHARGE).current_a = current_a
    with pytest.raises(Violation, match="invariant 4"):
        invariants.step(0.0)


def test_too_much_voltage(invariants):
    invariants.plant.voltage_v = 430.0
    with pytest.raises(Violation, match="invariant 4"):
        invariants.step(0.0)


def test_energy_out_of_nothing(invariants):
    invariants.check_balance()
    invariants.plant.units["E001"].converter.count(2000.0, 60.0)
    with pytest.raises(Violation, match="invariant 5"):
        invariants.check_balance()


@pytest.mark.parametrize(
    "then",
    [
        {"moved_wh": 10.0, "sequence": 3},
        {"moved_wh": 30.0, "sequence": 2},
        {"moved_wh": 49.9, "sequence": 3, "state": DealState.COMPLETED},
        {"moved_wh": 50.4, "sequence": 3, "state": DealState.COMPLETED},
        {"moved_wh": 30.0, "sequence": 3, "state": DealState.ABORTED},
    ],
)
def test_wrong_books(invariants, then):
    invariants.published(DEAL, 0.0)
    invariants.published(replace(DEAL, moved_wh=20.0, sequence=2), 1.0)
    with pytest.raises(Violation, match="invariant 5"):
        invariants.published(replace(DEAL, **then), 2.0)


def test_two_masters(invariants):
    invariants.believes("E001", lambda _unit_id: False, 0.0)
    invariants.believes("E002", lambda _unit_id: False, 0.0)
    with pytest.raises(Violation, match="invariant 7"):
        invariants.believes("E001", lambda unit_id: unit_id == "E002", 0.0)


def test_two_masters_for_a_lease_after_a_clock_has_jumped(invariants):
    invariants.clock_jumped(100.0)
    invariants.believes("E001", lambda _unit_id: True, 101.0)
    invariants.believes("E002", lambda _unit_id: True, 101.0)
    with pytest.raises(Violation, match="invariant 7"):
        invariants.believes("E001", lambda _unit_id: True, 100.0 + LIMITS.after_jump)


def test_a_branch_that_carries_too_much(invariants):
    for unit_id, current_a in (("E001", -2.2), ("E002", -0.8), ("E003", 1.5), ("E004", 1.5)):
        turned_on(invariants, unit_id, ConverterMode.CHARGE).current_a = current_a
    with pytest.raises(Violation, match="branch end carries 3"):
        invariants.step(0.0)


def test_a_converter_that_lies_and_goes_on(invariants):
    invariants.lies("E001", 0.3)
    turned_on(invariants, "E001", ConverterMode.CHARGE).current_a = 1.3
    invariants.step(100.0)
    invariants.step(100.0 + LIMITS.after_lie)
    with pytest.raises(Violation, match="E001 does not do what it is told"):
        invariants.step(101.0 + LIMITS.after_lie)
    invariants.lies("E001", 0.05)
    invariants.step(102.0 + LIMITS.after_lie)


COMPLETED = replace(DEAL, moved_wh=50.0, sequence=3, state=DealState.COMPLETED)


@pytest.mark.parametrize(
    ("gave_wh", "took_wh", "undisturbed", "words"),
    [
        (55.0, 44.0, True, r"more$"),
        (None, 50.0, True, "not in both journals"),
        (50.0, 40.0, False, "givers have written down"),
        (50.0, 50.0, False, "were metered"),
    ],
)
def test_books_that_do_not_agree(invariants, gave_wh, took_wh, undisturbed, words):
    invariants.published(DEAL, 0.0)
    invariants.published(COMPLETED, 1.0)
    for unit_id, moved_wh in ((DEAL.discharge_unit_id, gave_wh), (DEAL.charge_unit_id, took_wh)):
        if moved_wh is not None:
            invariants.wrote(unit_id, Receipt(DEAL.deal_id, moved_wh, moved_wh))
    with pytest.raises(Violation, match=words):
        invariants.check_books(undisturbed=undisturbed)


@pytest.mark.parametrize(
    ("more_wh", "terms", "is_too_much"),
    [(0.09, 1, False), (0.11, 1, True), (0.39, 2, False), (0.41, 2, True)],
)
def test_what_may_flow_beyond_the_agreed_energy(invariants, more_wh, terms, is_too_much):
    """A little while a driver is slow, and more for each grid master that was lost meanwhile."""
    for term in range(1, terms + 1):
        invariants.published(replace(DEAL, moved_wh=20.0, term=term), float(term))
    moved_wh = DEAL.energy_wh + more_wh
    over = replace(COMPLETED, moved_wh=moved_wh, term=terms, reason="more than agreed flowed")
    if not is_too_much:
        invariants.published(over, 10.0)
        return
    with pytest.raises(Violation, match="invariant 5"):
        invariants.published(over, 10.0)


def test_what_a_lost_journal_knew_is_not_missed(invariants):
    invariants.published(DEAL, 0.0)
    invariants.forgot(DEAL.discharge_unit_id)
    invariants.published(COMPLETED, 1.0)
    invariants.plant.units[DEAL.charge_unit_id].converter.count(18_000.0, 3_600.0 / 360.0)
    invariants.wrote(DEAL.charge_unit_id, Receipt(DEAL.deal_id, 50.0, 45.0))
    invariants.check_books(undisturbed=False)


def test_policies_that_differ_in_peace(invariants):
    def status(unit_id, version):
        return SimpleNamespace(unit_id=unit_id, policy_version=version)

    invariants.check_policies([status("E001", 2), status("E002", 2)])
    with pytest.raises(Violation, match="invariant 7"):
        invariants.check_policies([status("E001", 2), status("E002", 1)])
