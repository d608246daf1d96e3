"""The proof that nobody else holds the bus: readings in, doubts out (the protocol, 8.6)."""

from __future__ import annotations

from random import Random

import pytest

from apis_core.grid_master.voltage_proof import VoltageProof
from apis_core.model.messages import ConverterReading
from apis_core.model.units import SECOND_NS

S = SECOND_NS
DWELL_NS = S // 4
LOOK_NS = S // 20


class Trial:
    """A proof of E002 with E001 as its witness, and the time."""

    def __init__(self, policy, witness_ids=("E001",)) -> None:
        self.proof = VoltageProof(policy, DWELL_NS, Random(1), "E002", witness_ids)
        self.now_ns = 1_000 * S

    def look(self, bus_v, unit_id="E002", current_a=0.0) -> str:
        """A reading that takes 10 ms, every 50 ms."""
        self.now_ns += LOOK_NS
        reading = ConverterReading(grid_voltage_v=bus_v, grid_current_a=current_a)
        return self.proof.hear(unit_id, reading, self.now_ns, self.now_ns + S // 100)

    def look_both(self, bus_v, witness_v=None) -> set[str]:
        self.now_ns -= LOOK_NS  # at the same time
        witness_v = bus_v if witness_v is None else witness_v
        return {self.look(bus_v), self.look(witness_v, "E001")} - {""}

    def stay(self, offset_v=0.0) -> set[str]:
        """The bus is where it is to be, but for an error of the meters; all doubts."""
        doubts: set[str] = set()
        for _ in range(10):
            doubts |= self.look_both(self.proof.voltage_v + offset_v)
        return doubts


@pytest.fixture
def trial(policy) -> Trial:
    made = Trial(policy)
    made.proof.move_on()
    return made


def test_8_6_a_bus_that_stays_at_every_voltage_is_proven(trial, policy):
    moves = 1
    while True:
        assert trial.stay(offset_v=1.5) == set()
        assert trial.proof.has_dwelt
        if trial.proof.move_on() is None:
            break
        moves += 1
        assert not trial.proof.has_dwelt
    assert moves == policy.authorization_trials + 1 >= 3


def test_8_6_one_reading_is_no_proof(policy):
    trial = Trial(policy, witness_ids=())
    voltage_v = trial.proof.move_on()
    for _ in range(1 + DWELL_NS // LOOK_NS):
        assert trial.look(voltage_v) == ""
        assert not trial.proof.has_dwelt
    assert trial.look(voltage_v) == ""
    assert trial.proof.has_dwelt


@pytest.mark.parametrize("sweep_v_per_s", [-60.0, -30.0, -10.0, 10.0, 30.0, 60.0])
def test_8_6_another_source_that_sweeps_by_is_no_proof(trial, sweep_v_per_s):
    """It shows the right voltage for up to a second, but does not stay there."""
    step_v = sweep_v_per_s * LOOK_NS / S
    bus_v = trial.proof.voltage_v - 200 * step_v
    for _ in range(400):
        bus_v += step_v
        trial.look_both(bus_v)
        assert not trial.proof.has_dwelt
        trial.now_ns += LOOK_NS


@pytest.mark.parametrize("unit_id", ["E001", "E002"])
def test_8_6_a_bus_that_did_not_move_is_no_proof_though_within_the_allowance(trial, unit_id):
    trial.stay()
    stays_v = trial.proof.voltage_v
    goal_v = trial.proof.move_on()
    assert goal_v is not None
    near_v = goal_v - 3.5 if goal_v > stays_v else goal_v + 3.5  # the allowance is 4 V
    doubt = trial.look(near_v, unit_id)
    assert f"did not follow E002 to {goal_v:g} V" in doubt
    assert f"{unit_id} reads {near_v:.1f} V" in doubt
    assert not trial.proof.has_dwelt


def test_8_6_both_meters_must_see_it(trial):
    for _ in range(20):
        doubts = trial.look_both(trial.proof.voltage_v, witness_v=trial.proof.voltage_v + 20.0)
        assert doubts
        assert not trial.proof.has_dwelt


@pytest.mark.parametrize("current_a", [-0.6, 0.6])
def test_8_6_a_reference_that_carries_a_current_is_not_alone(trial, current_a):
    for _ in range(20):
        trial.look(trial.proof.voltage_v, "E001", current_a)  # of another unit it proves nothing
        doubt = trial.look(trial.proof.voltage_v, "E002", current_a)
        assert f"E002 carries {current_a:+.2f} A" in doubt
    assert not trial.proof.has_dwelt
    assert trial.stay() == set()
    assert trial.proof.has_dwelt


def test_8_6_a_bus_that_leaves_again_has_not_stayed(trial):
    trial.stay()
    assert trial.look_both(trial.proof.voltage_v + 10.0)
    assert not trial.proof.has_dwelt


def test_8_6_a_converter_that_does_not_say_its_voltage_proves_nothing(trial):
    assert "does not say" in trial.look(None)
    assert trial.look(None, "E007") == ""
    assert not trial.proof.has_dwelt
