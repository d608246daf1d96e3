"""The widget's side of the graph: finds the cluster, watches it, orders modes."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from apis_interfaces.msg import OperationMode
from apis_signing import words_of_operator
from apis_viz.watch import GridWatch

__all__ = ["GridLink", "clusters"]

ISSUER = "rqt"
ORDERS = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def clusters(node: Node) -> list[str]:
    """Names of the clusters in the graph."""
    topics = (topic.split("/") for topic, _ in node.get_topic_names_and_types())
    return sorted({p[2] for p in topics if len(p) == 5 and p[1] == "apis" and p[4] == "status"})


class GridLink:
    """One cluster, as the widget needs it."""

    def __init__(self, node: Node, cluster: str) -> None:
        """Watch a cluster through a node that somebody else spins."""
        namespace = f"/apis/{cluster}"
        words = words_of_operator(None, may_be_silent=True)
        self.watch = GridWatch(node, namespace=namespace, words=words)
        self._node = node
        self._topic = f"{namespace}/operation_mode"
        self._modes = node.create_publisher(OperationMode, self._topic, ORDERS)
        self._timer = node.create_timer(0.5, self.watch.discover)

    def set_mode(self, mode: int, unit_id: str) -> None:
        """Order a mode of a unit, or of the cluster if the id is empty."""
        with self.watch.lock:
            version = 0 if unit_id else self.watch.next_mode_version()
        order = OperationMode(unit_id=unit_id, mode=mode, version=version, issuer=ISSUER)
        self._modes.publish(self.watch.words.sign(order, self._topic))

    def close(self) -> None:
        """Leave the graph."""
        self._node.destroy_timer(self._timer)
        self.watch.close()
        self._node.destroy_publisher(self._modes)
