"""Every name in the graph, once: namespaces, topics, services and the action.

Names only, so that what starts no node can import them, too. A topic's type and quality of service
stand in :mod:`apis_ros.topics`; the whole contract is in ``apis_interfaces/README.md``.
"""

from __future__ import annotations

# below the namespace of a cluster
REQUESTS = "requests"
DEALS = "deals"
GRID_MASTER = "grid_master"
GRID_MASTER_GRANTS = "grid_master_grants"
FAULTS = "faults"
OPERATION_MODE = "operation_mode"
POLICY_OFFERS = "policy_offers"
BUS_STATE = "bus_state"
MARKERS = "markers"
EMULATOR_CONTROL = "emulator/control"  # service
EMULATOR_INJECT_FAULT = "emulator/inject_fault"  # service

# below the namespace of a unit
BATTERY_STATE = "battery_state"
CONVERTER_STATE = "converter_state"
HOUSE_STATE = "house_state"
STATUS = "status"
ACCEPTS = "accepts"
CONVERTER_COMMAND = "converter/command"  # service
CONTROL = "control"  # service
MAINTENANCE = "maintenance"  # service
SUBMIT_DEAL = "submit_deal"  # service
INTERCHANGE = "interchange"  # action

# of all clusters of a graph
CLOCK = "/clock"
DIAGNOSTICS = "/diagnostics"
TF_STATIC = "/tf_static"
ROSOUT = "/rosout"

_ROOT = "apis"


def cluster_namespace(cluster: str) -> str:
    """The namespace of a cluster's nodes, such as ``/apis/village``."""
    return f"/{_ROOT}/{cluster}"


def unit_namespace(cluster: str, unit_id: str) -> str:
    """The namespace of a unit's nodes, such as ``/apis/village/e001``."""
    return f"{cluster_namespace(cluster)}/{unit_id.lower()}"


def in_cluster(cluster: str, name: str) -> str:
    """The full name of what a cluster shares, such as ``/apis/village/deals``."""
    return f"{cluster_namespace(cluster)}/{name}"


def in_unit(cluster: str, unit_id: str, name: str) -> str:
    """The full name of what a unit has, such as ``/apis/village/e001/status``."""
    return f"{unit_namespace(cluster, unit_id)}/{name}"


def of_unit(unit_id: str, name: str) -> str:
    """The name of what a unit has within its cluster's namespace, such as ``e001/status``."""
    return f"{unit_id.lower()}/{name}"


def split_unit(namespace: str, topic: str) -> tuple[str, str]:
    """Unit id and the rest of a full topic, such as ``("E001", "status")``.

    Both are empty if the topic is not below the namespace of a unit of this cluster.
    """
    prefix = f"{namespace.rstrip('/')}/"
    unit, _, rest = topic.removeprefix(prefix).partition("/")
    return (unit.upper(), rest) if topic.startswith(prefix) and rest else ("", "")


def cluster_of(topic: str, name: str) -> str:
    """The cluster in which a unit has a topic of this name; empty = it is another topic."""
    _, _, below = topic.partition(f"/{_ROOT}/")
    cluster, _, rest = below.partition("/")
    is_ours = topic.startswith(f"/{_ROOT}/") and rest.partition("/")[2] == name
    return cluster if is_ours else ""
