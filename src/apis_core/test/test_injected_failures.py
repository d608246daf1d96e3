"""Converters that fail once, in each phase of a deal (the protocol, 17, test 5), in the cluster.

*before*: the driver refuses and does nothing; *after*: it does what it was told and says that it
failed; *silent*: it does nothing and never answers.
"""

from __future__ import annotations

import pytest
from deal_bench import DealBench

from apis_core.model.messages import ConverterOperation, ConverterReply
from apis_core.model.types import ConverterError, ConverterMode, DealState
from apis_core.model.units import SECOND_NS

M = ConverterMode
ORDERS = {
    "activate": ("reference", lambda o: o.mode is M.VOLTAGE_REFERENCE),
    "authorise": (
        "reference",
        lambda o: o.operation is ConverterOperation.VOLTAGE and o.grid_voltage_v is not None,
    ),
    "warm up": ("giver", lambda o: o.mode is M.DISCHARGE),
    "warm up the taker": ("taker", lambda o: o.mode is M.CHARGE),
    "compensate": ("giver", lambda o: o.operation is ConverterOperation.CURRENT),
    "stop": ("giver", lambda o: o.mode is M.WAIT),
    "stop the taker": ("taker", lambda o: o.mode is M.WAIT),
    "deactivate": ("reference", lambda o: o.mode is M.WAIT),
}
ENDS = ("stop", "stop the taker", "deactivate")
HOWS = ("before", "after", "silent")


class Failing(DealBench):
    """A bench in which one order fails once.

    Attributes:
        has_failed: Whether that has come.
    """

    def __init__(self) -> None:
        self.has_failed = False
        super().__init__()

    def fail(self, unit_id: str, is_meant, how: str) -> None:
        def mishap(ordered_id, order):
            if self.has_failed or ordered_id != unit_id or not is_meant(order):
                return None
            self.has_failed = True
            if how == "after":
                super(DealBench, self)._obey(ordered_id, order)
            if how == "silent":
                return SILENCE
            reading = self._reading(self.plants[unit_id])
            return ConverterReply(error=ConverterError.REFUSED, message="no", reading=reading)

        self.mishap = mishap

    def _deliver(self, sender, to, event) -> None:
        if getattr(event, "reply", None) is SILENCE:  # the shell gives up at last
            event = type(event)(event.origin, None)
        super()._deliver(sender, to, event)


SILENCE = ConverterReply(message="silence")


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("phase", [p for p in ORDERS if "taker" not in p])
def test_17_5_a_failure_in_the_references_deal(phase, how):
    bench = Failing()
    bench.plants["E001"].meter_error_a = 0.05 * (phase == "compensate")
    role, is_meant = ORDERS[phase]
    bench.fail({"reference": "E002", "giver": "E001"}[role], is_meant, how)
    bench.want("E001", "E002", 10.0, after_s=1.0)
    (ended,) = bench.finish().values()
    assert bench.has_failed
    if phase in ENDS:  # the energy was there before, and WAIT is said until it is so
        assert ended.state is DealState.COMPLETED
    else:
        assert ended.state is DealState.ABORTED
        assert ended.reason
        assert ended.ended_ns - ended.created_ns < 120 * SECOND_NS
    again = bench.want("E004", "E003", 5.0)  # and the bus is free for others
    assert bench.finish()[again].state is DealState.COMPLETED


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("phase", [p for p in ORDERS if ORDERS[p][0] != "reference"])
def test_17_5_a_failure_in_a_deal_beside_leaves_the_others_flowing(phase, how):
    bench = Failing()
    kept = bench.want("E001", "E002", 40.0)
    bench.plants["E004"].meter_error_a = 0.05 * (phase == "compensate")
    role, is_meant = ORDERS[phase]
    bench.fail({"giver": "E004", "taker": "E003"}[role], is_meant, how)
    failing = bench.want("E004", "E003", 10.0, after_s=1.0)
    assert bench.run_until(lambda: bench.state(failing).is_over, 400.0)
    assert bench.has_failed
    expected = DealState.COMPLETED if phase in ENDS else DealState.ABORTED
    assert bench.state(failing) is expected
    bench.run_for(30.0)
    assert bench.state(kept) is DealState.RUNNING
    assert {bench.plants[u].reading.mode for u in ("E003", "E004")} == {M.WAIT}
    assert bench.finish()[kept].state is DealState.COMPLETED


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("unit_id", ["E001", "E003"])
def test_17_5_a_failure_to_join_a_shared_unit_leaves_its_other_deal_flowing(unit_id, how):
    bench = Failing()
    kept = bench.want("E001", "E002", 40.0)
    is_meant = {
        "E001": lambda o: o.operation is ConverterOperation.CURRENT,
        "E003": lambda o: o.mode is M.CHARGE,
    }[unit_id]
    bench.fail(unit_id, is_meant, how)
    failing = bench.want("E001", "E003", 10.0, after_s=1.0)
    assert bench.run_until(lambda: bench.state(failing).is_over, 400.0)
    assert bench.has_failed
    assert bench.state(failing) is DealState.ABORTED
    bench.run_for(10.0)
    assert bench.state(kept) is DealState.RUNNING
    assert bench.current_a("E001") == pytest.approx(-1.0)
    assert bench.finish()[kept].state is DealState.COMPLETED
    assert bench.deals[kept].moved_wh == pytest.approx(40.0, rel=2e-3)
