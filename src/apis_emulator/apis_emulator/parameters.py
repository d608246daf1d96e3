"""The parameters of an emulator; those with which one tampers with its devices come on top."""

from __future__ import annotations

from apis_ros.parameters import NodeParameter

__all__ = ["PARAMETERS"]

PARAMETERS = (
    NodeParameter(
        name="grid_file", default="", about="Path of the resolved grid description (JSON); needed"
    ),
    NodeParameter(
        name="speed",
        default=0.0,
        about="Simulated seconds per second; 0 = as the grid says; while it runs: apisctl world",
        least=0.0,
        most=10_000.0,
    ),
)
