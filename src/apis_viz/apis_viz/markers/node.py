"""The node that draws: marker arrays for RViz, and a TF frame for every house.

Publishes `markers` (visualization_msgs/MarkerArray) in the cluster's namespace, five times a
second of wall time, and `/tf_static` once: in the frame `grid` a frame for every unit, such as
`e001`. That needs tf2_msgs, which every ROS 2 installation has and PyPI has not.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from contextlib import ExitStack
from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from visualization_msgs.msg import Marker, MarkerArray

from apis_core.config.policy import Policy
from apis_core.config.timing import SILENT_AFTER_S
from apis_interfaces.msg import ConverterState, Deal, OperationMode, UnitStatus
from apis_ros.grid_listener import GridListener
from apis_ros.names import MARKERS, TF_STATIC
from apis_ros.qos import STATE
from apis_ros.window import WindowFiles
from apis_site.grid import GridDescription
from apis_site.plan import GridPlan, Place
from apis_viz.markers.scene import BusLook, DealLook, HouseLook, scene

__all__ = ["FRAME", "MarkerNode", "build", "transforms"]

FRAME = "grid"
PERIOD_S = 0.2  # wall
MODE_WORDS = {
    OperationMode.MODE_SOFT_STOP: "soft stop",
    OperationMode.MODE_FORCE_STOP: "force stop",
    OperationMode.MODE_MANUAL: "manual",
}


class MarkerNode:
    """Draws what a watch has heard."""

    def __init__(
        self, node: Node, watch: GridListener, grid: GridDescription, policy: Policy | None
    ) -> None:
        self._node = node
        self._watch = watch
        self._grid = grid
        places = [Place(unit.id, *map(float, unit.position_m)) for unit in grid.units]
        branches = policy.topology if policy else None
        self._plan = GridPlan.of(places, branches or ())
        self._limit_a = policy.total_deal_current_max_a if policy else None
        self._drawn: dict[tuple[str, int], Marker] = {}
        self._publisher = node.create_publisher(MarkerArray, MARKERS, STATE)
        node.create_timer(PERIOD_S, self._draw, clock=Clock(clock_type=ClockType.STEADY_TIME))
        _publish_frames(node, grid)

    def _draw(self) -> None:
        with self._watch.lock:
            markers = scene(
                self._plan,
                {unit.id: self._house(unit.id, unit.house.pv_peak_w) for unit in self._grid.units},
                [_deal(deal) for deal in self._watch.running_deals()],
                self._bus(),
                bus_limit_a=self._limit_a,
            )
        stamp = self._node.get_clock().now().to_msg()
        drawn = {(marker.ns, marker.id): marker for marker in markers}
        gone = [self._drawn[key] for key in self._drawn.keys() - drawn.keys()]
        for marker in gone:
            marker.action = Marker.DELETE
        for marker in (*gone, *markers):
            marker.header.frame_id, marker.header.stamp = FRAME, stamp
        self._drawn = drawn
        self._publisher.publish(MarkerArray(markers=[*gone, *markers]))

    def _house(self, unit_id: str, solar_peak_w: float | None) -> HouseLook:
        watch = self._watch
        status, house = watch.statuses.get(unit_id), watch.houses.get(unit_id)
        converter = watch.converter(unit_id)
        age_s = watch.age_s(unit_id)
        if status is None or age_s is None:
            return HouseLook(unit_id)
        return HouseLook(
            unit_id,
            is_present=age_s <= SILENT_AFTER_S,
            soc_ratio=_known(status.soc_ratio),
            current_a=_known(converter.grid_current_a) if converter else None,
            voltage_v=_known(converter.grid_voltage_v) if converter else None,
            solar_w=_known(house.solar_power_w) if house else None,
            solar_peak_w=solar_peak_w,
            holds_reference=bool(
                converter and converter.mode == ConverterState.MODE_VOLTAGE_REFERENCE
            ),
            is_grid_master=status.is_grid_master,
            mode=MODE_WORDS.get(status.effective_mode, ""),
            remark=_remark(status),
        )

    def _bus(self) -> BusLook:
        bus, title = self._watch.bus, self._grid.cluster
        if bus is not None:
            return BusLook(title, bus.voltage_v, bus.transported_power_w, bus.line_loss_w)
        readings = [self._watch.converter(unit_id) for unit_id in self._watch.unit_ids]
        seen_v = [_known(reading.grid_voltage_v) for reading in readings if reading]
        return BusLook(title, max((v for v in seen_v if v is not None), default=None))


def build(node: Node, files: WindowFiles, _own: dict[str, Any], _stack: ExitStack) -> None:
    """Give the node its work."""
    MarkerNode(
        node,
        GridListener(
            node, (unit.id for unit in files.grid.units), authenticator=files.authenticator
        ),
        files.grid,
        files.policy,
    )


def transforms(grid: GridDescription) -> list[TransformStamped]:
    """Where the frames of the units stand in the frame `grid`."""
    frames = []
    for unit in grid.units:
        transform = TransformStamped(child_frame_id=unit.id.lower())
        transform.header.frame_id = FRAME
        transform.transform.translation.x = float(unit.position_m[0])
        transform.transform.translation.y = float(unit.position_m[1])
        transform.transform.rotation.w = 1.0
        frames.append(transform)
    return frames


def _publish_frames(node: Node, grid: GridDescription) -> None:
    if importlib.util.find_spec("tf2_msgs") is None:
        node.get_logger().info("no TF frames: tf2_msgs is not installed; the markers need none")
        return
    message_type = importlib.import_module("tf2_msgs.msg").TFMessage
    publisher = node.create_publisher(message_type, TF_STATIC, STATE)
    publisher.publish(message_type(transforms=transforms(grid)))


def _deal(deal: Deal) -> DealLook:
    return DealLook(
        deal.deal_id,
        deal.discharge_unit_id,
        deal.charge_unit_id,
        deal.current_a,
        deal.energy_wh,
        deal.moved_wh,
        is_flowing=deal.state == Deal.STATE_RUNNING,
    )


def _remark(status: UnitStatus) -> str:
    return ", ".join(status.fault_codes) or ("in quarantine" if status.in_quarantine else "")


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
