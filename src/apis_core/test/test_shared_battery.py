"""One battery, several units: never two of them in one direction (13, W28)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated_cluster import SimulatedCluster

from apis_core.events import BatteryClaimed, ClaimBattery, FreeBattery
from apis_core.model.types import Direction, OperationMode

CHARGE, DISCHARGE = Direction.CHARGE, Direction.DISCHARGE
SOCS = {"E001": 0.92, "E002": 0.50, "E003": 0.80}


class Host:
    """The locks of one host, without files."""

    def __init__(self) -> None:
        self.holders: dict[Direction, str] = {}
        self.failure = ""
        self.log: list[str] = []

    def claim(self, who: str, direction: Direction) -> BatteryClaimed:
        holder = self.holders.setdefault(direction, who)
        self.log.append(f"{who} claims {direction.name}: {holder == who}")
        return BatteryClaimed(direction, holder == who and not self.failure, self.failure)

    def free(self, who: str, direction: Direction) -> None:
        assert self.holders.pop(direction) == who
        self.log.append(f"{who} frees {direction.name}")


class Cellar(SimulatedCluster):
    """E002 shares its battery with a unit of another cluster on the same host."""

    def __init__(self, socs=SOCS, **changes) -> None:
        self.host = Host()
        super().__init__(dict(socs), **changes)

    def make_settings(self, unit_id):
        return replace(super().make_settings(unit_id), shares_battery=unit_id == "E002")

    def _do(self, unit_id, effects) -> None:
        super()._do(unit_id, effects)
        for effect in effects:
            if isinstance(effect, ClaimBattery):
                self.feed(unit_id, self.host.claim(unit_id, effect.type))
            if isinstance(effect, FreeBattery):
                self.host.free(unit_id, effect.type)


def test_13_a_direction_is_claimed_for_a_deal_and_given_back_after_it():
    cellar = Cellar()
    assert cellar.run_until(lambda: CHARGE in cellar.host.holders, 300.0)
    while not cellar.completed():
        cellar.run_for(20.0)
        if cellar.snapshot("E002").slot_deals:
            assert cellar.host.holders == {CHARGE: "E002"}
    assert cellar.run_until(lambda: "E002 frees CHARGE" in cellar.host.log, 60.0)


def test_13_a_direction_that_another_unit_holds_makes_no_deal():
    cellar = Cellar()
    cellar.host.holders[CHARGE] = "another"
    cellar.run_for(1_200.0)
    assert not cellar.deals
    assert "E002 claims CHARGE: False" in cellar.host.log
    del cellar.host.holders[CHARGE]
    assert cellar.run_until(lambda: bool(cellar.completed()), 3_600.0)


def test_13_the_other_direction_is_nobodys_business():
    cellar = Cellar({"E001": 0.50, "E002": 0.92, "E003": 0.80})
    cellar.host.holders[CHARGE] = "another"
    assert cellar.run_until(lambda: bool(cellar.completed()), 3_600.0)
    assert cellar.host.holders == {CHARGE: "another"}


def test_w28_a_direction_claimed_in_vain_is_given_back_at_once():
    cellar = Cellar(
        {"E001": 0.92, "E002": 0.80, "E003": 0.95}, operation_mode=OperationMode.SOFT_STOP
    )
    cellar.run_for(600.0)
    assert cellar.host.holders == {}
    assert cellar.host.log == []


def test_13_a_lock_that_fails_is_a_fault_of_the_framework():
    cellar = Cellar()
    cellar.host.failure = "no such folder"
    cellar.host.claim = lambda who, direction: BatteryClaimed(direction, False, "no such folder")
    failed = lambda: "battery_lock_failed" in cellar.snapshot("E002").fault_codes  # noqa: E731
    assert cellar.run_until(failed, 300.0)
    cellar.run_for(60.0)
    assert not cellar.deals


@pytest.mark.parametrize("unit_id", ["E001", "E003"])
def test_13_who_shares_no_battery_claims_nothing(unit_id):
    cellar = Cellar()
    cellar.run_for(300.0)
    assert not any(line.startswith(unit_id) for line in cellar.host.log)
