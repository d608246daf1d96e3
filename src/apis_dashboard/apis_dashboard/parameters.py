"""Parameters of the dashboard's node."""

from __future__ import annotations

from apis_ros.parameters import NodeParameter

__all__ = ["PARAMETERS"]

PARAMETERS = (
    NodeParameter(
        name="grid_file", default="", about="Path of the resolved grid description (JSON); needed"
    ),
    NodeParameter(
        name="host", default="", about="Address that it listens on; empty = as the grid file says"
    ),
    NodeParameter(
        name="port", default=0, about="Port; 0 = as the grid file says", least=0, most=65535
    ),
    NodeParameter(
        name="access_file",
        default="",
        about="Path of the file of who may log in; empty = nobody need",
    ),
    NodeParameter(
        name="history_file", default="", about="Path of its history; empty = beside the grid file"
    ),
    NodeParameter(
        name="audit_file",
        default="",
        about="Path of the record of who ordered what; empty = beside the grid file",
    ),
)
