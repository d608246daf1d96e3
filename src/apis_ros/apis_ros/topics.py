"""Every topic of the graph: its name, its type and its quality of service, as in the contract.

``apis_interfaces/README.md`` has the same table, with who speaks to whom; a test holds them
together. Services and the action have names only, in :mod:`apis_ros.names`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import BatteryState

from apis_interfaces import msg
from apis_ros import names, qos

__all__ = [
    "ACCEPTS",
    "BATTERY_STATE",
    "BUS_STATE",
    "CLOCK",
    "CONVERTER_STATE",
    "DEALS",
    "DIAGNOSTICS",
    "FAULTS",
    "GRID_MASTER",
    "GRID_MASTER_GRANTS",
    "HOUSE_STATE",
    "OPERATION_MODE",
    "POLICY_OFFERS",
    "REQUESTS",
    "STATUS",
    "Topic",
]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is offered.

    Attributes:
        name: Below the namespace of a cluster or of a unit; with a slash in front it is full.
        type: Of its messages.
        qos: With which it is offered. Who listens takes the same, or less.
    """

    name: str
    type: type
    qos: QoSProfile

    def publisher(self, node: Node, name: str = "") -> Any:
        """Offer it.

        Args:
            node: In the namespace below which the topic is, unless `name` is given.
            name: Its name from where the node is; empty = its own.
        """
        return node.create_publisher(self.type, name or self.name, self.qos)


# of a unit
BATTERY_STATE = Topic(names.BATTERY_STATE, BatteryState, qos.TELEMETRY)
CONVERTER_STATE = Topic(names.CONVERTER_STATE, msg.ConverterState, qos.TELEMETRY)
HOUSE_STATE = Topic(names.HOUSE_STATE, msg.HouseState, qos.TELEMETRY)
STATUS = Topic(names.STATUS, msg.UnitStatus, qos.STATE)
ACCEPTS = Topic(names.ACCEPTS, msg.InterchangeAccept, qos.EVENT)

# of a cluster
REQUESTS = Topic(names.REQUESTS, msg.InterchangeRequest, qos.EVENT)
DEALS = Topic(names.DEALS, msg.Deal, qos.RECORD)
GRID_MASTER = Topic(names.GRID_MASTER, msg.GridMasterClaim, qos.EVENT)
GRID_MASTER_GRANTS = Topic(names.GRID_MASTER_GRANTS, msg.LeaseGrant, qos.EVENT)
FAULTS = Topic(names.FAULTS, msg.Fault, qos.RECORD)
OPERATION_MODE = Topic(names.OPERATION_MODE, msg.OperationMode, qos.ORDER)
POLICY_OFFERS = Topic(names.POLICY_OFFERS, msg.PolicyOffer, qos.EVENT)
BUS_STATE = Topic(names.BUS_STATE, msg.BusState, qos.TELEMETRY)

# of all clusters
CLOCK = Topic(names.CLOCK, Clock, qos.TELEMETRY)
DIAGNOSTICS = Topic(names.DIAGNOSTICS, DiagnosticArray, qos.EVENT)
