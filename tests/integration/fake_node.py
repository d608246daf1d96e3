"""Stand-ins for the emulator and the unit nodes: real nodes and messages, no physics, no protocol.

With them the commands can be tested against what a real grid hopefully never shows: a unit that
does not obey, a converter that stays on. Environment variables name the culprit:

FAKE_DEAF      a unit that ignores every operation mode
FAKE_LEFT_ON   a unit whose converter never goes to WAIT
FAKE_DIES      a role (emulator) that is killed when it has run for a second
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock

from apis_interfaces.msg import ConverterState, Deal, Fault, OperationMode, UnitStatus
from apis_ros import qos

CLOCK_PERIOD_S = 0.05  # wall
START_S = 1_750_460_400  # 2025-06-21 08:00 in Tokyo


class FakeEmulator(Node):
    """Time goes on, and converters wait."""

    def __init__(self) -> None:
        super().__init__("emulator")
        grid_file = self.declare_parameter("grid_file", Parameter.Type.STRING).value
        self.fake_speed = self.declare_parameter("speed", Parameter.Type.DOUBLE).value
        self.fake_now_s = float(START_S)
        self.fake_clock = self.create_publisher(Clock, "/clock", 10)
        self.fake_states = {
            unit["id"]: self.create_publisher(
                ConverterState, f"{unit['id'].lower()}/converter_state", 1
            )
            for unit in json.loads(Path(grid_file).read_text())["units"]
        }
        self.create_timer(CLOCK_PERIOD_S, self._tick)

    def _tick(self) -> None:
        self.fake_now_s += CLOCK_PERIOD_S * self.fake_speed
        clock = Clock()
        clock.clock.sec = int(self.fake_now_s)
        clock.clock.nanosec = int(self.fake_now_s % 1.0 * 1e9)
        self.fake_clock.publish(clock)
        for unit_id, publisher in self.fake_states.items():
            is_on = unit_id == os.environ.get("FAKE_LEFT_ON")
            mode = ConverterState.MODE_CHARGE if is_on else ConverterState.MODE_WAIT
            publisher.publish(ConverterState(unit_id=unit_id, mode=mode))
        if (
            os.environ.get("FAKE_DIES") == "emulator"
            and self.fake_now_s > START_S + self.fake_speed
        ):
            print("the sun has gone out", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)


class FakeUnit(Node):
    """Says what mode it was given; the first one also tells of two deals and a fault."""

    def __init__(self, cluster: str, unit_id: str, *, tells_of_deals: bool) -> None:
        super().__init__("unit", namespace=f"/apis/{cluster}/{unit_id.lower()}")
        assert self.declare_parameter("unit_id", Parameter.Type.STRING).value == unit_id
        self.fake_status = UnitStatus(unit_id=unit_id, soc_ratio=0.5, battery_band="sufficient")
        self.fake_status.converter.grid_voltage_v = float("nan")
        self.fake_status.global_mode = self.fake_status.effective_mode = OperationMode.MODE_RUN
        self.fake_publisher = self.create_publisher(UnitStatus, "status", qos.STATE)
        self.fake_publisher.publish(self.fake_status)
        self.create_subscription(
            OperationMode, f"/apis/{cluster}/operation_mode", self._on_mode, qos.ORDER
        )
        if tells_of_deals:
            self.fake_deals = self.create_publisher(Deal, f"/apis/{cluster}/deals", qos.RECORD)
            self.fake_faults = self.create_publisher(Fault, f"/apis/{cluster}/faults", qos.RECORD)
            self.fake_faults.publish(Fault(unit_id=unit_id, code="fan_stuck"))
            self._tell("first", Deal.STATE_COMPLETED, sequence=2)
            self._tell("first", Deal.STATE_RUNNING, sequence=1)  # late: is to be ignored
            self._tell("second", Deal.STATE_RUNNING, sequence=1)

    def _on_mode(self, order: OperationMode) -> None:
        mine = self.fake_status.unit_id
        if mine == os.environ.get("FAKE_DEAF"):
            return
        if order.unit_id == mine:
            self.fake_status.local_mode = order.mode
        elif not order.unit_id:
            self.fake_status.global_mode = order.mode
            if hasattr(self, "fake_deals") and order.mode == OperationMode.MODE_SOFT_STOP:
                self._tell("second", Deal.STATE_COMPLETED, sequence=2)
        self.fake_status.effective_mode = (
            self.fake_status.local_mode or self.fake_status.global_mode
        )
        self.fake_publisher.publish(self.fake_status)

    def _tell(self, deal_id: str, state: int, *, sequence: int) -> None:
        deal = Deal(deal_id=deal_id, state=state, sequence=sequence, term=1)
        deal.discharge_unit_id, deal.charge_unit_id = "E001", "E002"
        deal.energy_wh, deal.sent_wh, deal.received_wh = 100.0, 101.0, float("nan")
        deal.created_at.sec = START_S
        self.fake_deals.publish(deal)


def main() -> None:
    """Play the role that the command line names."""
    role, *rest = sys.argv[1:]
    own, ros = rest[: rest.index("--ros-args")], rest[rest.index("--ros-args") :]
    rclpy.init(args=ros)
    try:
        _play(role, own)
    except KeyboardInterrupt:
        print("stopping", flush=True)
    except Exception:  # what a shutdown in the middle of anything brings, such as in a constructor
        if rclpy.ok():
            raise
        print("stopping", flush=True)


def _play(role: str, own: list[str]) -> None:
    executor = SingleThreadedExecutor()
    if role == "emulator":
        executor.add_node(FakeEmulator())
    else:
        cluster, ids = own[1], own[3:]
        for unit_id in ids:
            executor.add_node(FakeUnit(cluster, unit_id, tells_of_deals=unit_id == "E001"))
    executor.spin()


if __name__ == "__main__":
    main()
