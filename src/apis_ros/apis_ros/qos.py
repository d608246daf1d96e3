"""Quality of service by name; ``apis_interfaces/README.md`` says which topic has which."""

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

__all__ = ["EVENT", "RECORD", "STATE", "TELEMETRY"]


def _reliable(depth: int, *, retained: bool) -> QoSProfile:
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if retained else DurabilityPolicy.VOLATILE,
    )


TELEMETRY = _reliable(1, retained=False)  # the newest reading is all that counts
STATE = _reliable(1, retained=True)  # a latecomer gets the present state
RECORD = _reliable(100, retained=True)  # a latecomer gets the recent past
EVENT = _reliable(100, retained=False)  # what was missed is not repeated
