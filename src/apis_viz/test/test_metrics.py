"""The metrics, from messages to what Prometheus reads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("apis_interfaces.msg", reason="needs the ROS environment")
pytest.importorskip("prometheus_client")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from apis_interfaces.msg import (
    ConverterState,
    Deal,
    Fault,
    HouseState,
    OperationMode,
    UnitStatus,
)
from apis_ros.grid_listener import GridListener
from apis_viz.metrics.collector import GridCollector

NAN = float("nan")
CONFIG = Path(__file__).resolve().parents[3] / "config"


class Grid:
    """A watch without a graph: messages are handed to it, and what is scraped is looked at."""

    def __init__(self) -> None:
        self._heard = {}
        node = SimpleNamespace(
            create_subscription=lambda _kind, topic, hear, _qos: self._heard.update({topic: hear})
        )
        self.registry = CollectorRegistry()
        self.registry.register(GridCollector(GridListener(node, ("E001", "E002")), "village"))

    def hear(self, topic: str, *messages: object) -> None:
        for message in messages:
            self._heard[topic](message)

    def sample(self, metric: str, /, **labels: str) -> float | None:
        """What Prometheus reads now; None if there is no such sample."""
        text = generate_latest(self.registry).decode()
        values = [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == metric and sample.labels == {"cluster": "village", **labels}
        ]
        assert len(values) <= 1
        return values[0] if values else None


def status(unit_id: str, **fields) -> UnitStatus:
    converter = ConverterState(unit_id=unit_id, mode=ConverterState.MODE_WAIT)
    return UnitStatus(unit_id=unit_id, converter=converter, **fields)


def deal(state: int, moved_wh: float, sequence: int, deal_id: str = "d") -> Deal:
    return Deal(
        deal_id=deal_id,
        term=1,
        sequence=sequence,
        state=state,
        moved_wh=moved_wh,
        discharge_unit_id="E001",
        charge_unit_id="E002",
    )


def test_units_and_what_is_not_known_has_no_sample():
    grid = Grid()
    grid.hear(
        "e001/status",
        status("E001", soc_ratio=0.5, remaining_wh=NAN, effective_mode=OperationMode.MODE_MANUAL),
    )
    grid.hear("e001/converter_state", ConverterState(grid_power_w=-700.0, grid_charged_wh=NAN))
    grid.hear("e001/house_state", HouseState(solar_power_w=2500.0))
    sample = grid.sample

    assert sample("apis_unit_present", unit="E001") == 1.0
    assert sample("apis_unit_present", unit="E002") == 0.0
    assert sample("apis_unit_soc_ratio", unit="E001") == 0.5
    assert sample("apis_unit_stored_wh", unit="E001") is None
    assert sample("apis_unit_soc_ratio", unit="E002") is None
    assert sample("apis_unit_mode", unit="E001", mode="manual") == 1.0
    assert sample("apis_unit_mode", unit="E001", mode="run") == 0.0
    assert sample("apis_converter_grid_power_watts", unit="E001") == -700.0
    assert sample("apis_converter_energy_wh_total", unit="E001", side="grid", flow="in") is None
    assert sample("apis_house_solar_watts", unit="E001") == 2500.0


def test_a_deal_is_counted_once_however_often_it_is_told():
    grid = Grid()
    running, done = deal(Deal.STATE_RUNNING, 40.0, 2), deal(Deal.STATE_COMPLETED, 100.0, 3)
    grid.hear("deals", running)
    assert grid.sample("apis_deals_flowing") == 1.0
    assert grid.sample("apis_deal_energy_wh_total", giver="E001", taker="E002") == 40.0

    grid.hear("deals", done, done, running)  # the last one is late
    grid.hear("deals", deal(Deal.STATE_ABORTED, 7.0, 1, "other"))
    sample = grid.sample
    assert sample("apis_deals_flowing") == 0.0
    assert sample("apis_deals_ended_total", end="completed") == 1.0
    assert sample("apis_deals_ended_total", end="aborted") == 1.0
    assert sample("apis_deals_ended_total", end="scrammed") == 0.0
    assert sample("apis_deal_energy_wh_total", giver="E001", taker="E002") == 107.0


def test_faults_and_the_numbers_of_diagnostics():
    grid = Grid()
    fault = Fault(unit_id="E001", code="over_temperature", level=Fault.LEVEL_ERROR)
    grid.hear("faults", fault, fault)
    values = [KeyValue(key="jitter_p99_us", value="41.5"), KeyValue(key="mode", value="WAIT")]
    level = DiagnosticStatus.WARN
    loop = DiagnosticStatus(level=level, name="E001: loop", values=values)
    grid.hear("/diagnostics", DiagnosticArray(status=[loop]))
    sample = grid.sample

    assert sample("apis_faults_total", unit="E001", code="over_temperature", level="error") == 2.0
    assert sample("apis_diagnostic_level", name="E001: loop") == 1.0
    assert sample("apis_diagnostic_value", name="E001: loop", key="jitter_p99_us") == 41.5
    assert sample("apis_diagnostic_value", name="E001: loop", key="mode") is None


def test_grafana_asks_only_for_metrics_that_there_are():
    families = Grid().registry.collect()
    counters = {f"{family.name}_total" for family in families if family.type == "counter"}
    known = {family.name for family in Grid().registry.collect()} | counters
    dashboard = (CONFIG / "grafana_dashboard.json").read_text()
    asked = {
        name
        for panel in json.loads(dashboard)["panels"]
        for target in panel["targets"]
        for name in re.findall(r"apis_\w+", target["expr"])
    }

    assert len(asked) > 10
    assert asked <= known
