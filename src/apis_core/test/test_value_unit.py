"""Whole units with the value rule: they deal by what they have seen, also after a restart."""

from __future__ import annotations

import pytest
from simulated_cluster import SimulatedCluster

from apis_core.config.scenario import parse_scenario
from apis_core.events import HourCounted, ScenarioRead
from apis_core.trading.energy_history import DAY_H

VALUE = parse_scenario('{"rule": "value"}', "scenario")


def week(cluster: SimulatedCluster, unit_id: str, *, sun_w: float, load_w: float) -> None:
    """A week and a morning of its house."""
    for hour in range(7 * DAY_H + 9):
        solar_wh = sun_w if 8 <= hour % DAY_H < 16 else 0.0
        cluster.feed(unit_id, HourCounted(hour, solar_wh, load_w, is_curtailed=False))


@pytest.fixture
def cluster() -> SimulatedCluster:
    """E001 will overflow today, E002 has no sun."""
    cluster = SimulatedCluster({"E001": 0.6, "E002": 0.6})
    cluster.scenario = VALUE
    for unit_id in list(cluster.agents):
        cluster.feed(unit_id, ScenarioRead(VALUE))
    week(cluster, "E001", sun_w=2500.0, load_w=150.0)
    week(cluster, "E002", sun_w=0.0, load_w=400.0)
    return cluster


def test_who_will_overflow_gives_to_who_has_no_sun(cluster):
    assert cluster.run_until(lambda: bool(cluster.completed()), 3600.0), cluster.trace[-5:]
    for deal in cluster.completed():
        assert (deal.discharge_unit_id, deal.charge_unit_id) == ("E001", "E002")
        # in the middle between the least gain of the one and the worth to the other
        assert deal.price_point_per_wh == pytest.approx(0.5 * (0.89 + 9.67), abs=0.1)


def test_what_a_unit_has_seen_survives_its_process(cluster):
    cluster.run_for(10.0)
    band = cluster.snapshot("E001").band
    cluster.kill("E001")
    cluster.start("E001")
    cluster.run_for(10.0)
    assert cluster.snapshot("E001").band == band
    assert band != "", band


def test_with_bands_no_hour_is_written_down():
    cluster = SimulatedCluster({"E001": 0.6, "E002": 0.6})
    week(cluster, "E001", sun_w=2500.0, load_w=150.0)
    written = [record.entry for record in cluster.journals["E001"]]
    assert not [entry for entry in written if isinstance(entry, HourCounted)]
