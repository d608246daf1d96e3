"""Parameters of the driver's node."""

from __future__ import annotations

from apis_ros.parameters import NodeParameter

__all__ = ["GROUPS", "PARAMETERS"]

PARAMETERS = (
    NodeParameter(
        name="hardware_file", default="", about="Path of the unit's hwConfig: its limits; needed"
    ),
    NodeParameter(
        name="autostart", default=True, about="Whether it walks the lifecycle up itself"
    ),
    NodeParameter(
        name="speed",
        default=1.0,
        about="Simulated seconds per second of the clock; 1 with real hardware",
        least=0.001,
        most=10_000.0,
    ),
    NodeParameter(
        name="keys", default="", about="Path of the folder of the grid's keys; empty = none"
    ),
)
GROUPS = {
    "converter": "Kind and settings of the converter: docs/drivers.md",
    "battery": "Kind and settings of the battery: docs/drivers.md",
    "rules": "What does not depend on the make of the converter: docs/drivers.md",
    "http": "Server of the original drivers' interface: docs/drivers.md",
}
