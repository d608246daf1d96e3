"""``apisctl scene``: what RViz would show, drawn from the markers that a grid publishes."""

from __future__ import annotations

from pathlib import Path

from visualization_msgs.msg import Marker, MarkerArray

from apis_bringup.errors import CommandError, usage_error
from apis_bringup.graph import Graph
from apis_bringup.queries import APPEARS_WITHIN_S, STARTS_WITHIN_S, GridSession
from apis_ros.names import MARKERS
from apis_ros.qos import STATE

__all__ = ["draw_scene"]

ENERGY_FLOWS_WITHIN_S = 300.0  # wall


def draw_scene(grid: GridSession, out: Path, *, width: int, height: int, flowing: bool) -> None:
    """Draw the newest markers into a PNG file.

    Args:
        grid: Which grid.
        out: The file.
        width: Of the picture. [px]
        height: Of the picture. [px]
        flowing: Whether to wait until a current flows.

    Raises:
        ConfigError: The file cannot be written.
        CommandError: Nobody draws, nothing flowed, or matplotlib is not installed.
    """
    try:
        from apis_viz.markers.picture import save_picture
    except ModuleNotFoundError as error:
        raise CommandError(f"{error.name} is not installed; `make setup` brings it") from None
    newest: list[Marker] = []

    def take(array: MarkerArray) -> None:
        newest[:] = array.markers

    def flows() -> bool:
        return any(marker.ns == "flow" and marker.action == Marker.ADD for marker in newest)

    with Graph(grid.cluster) as graph:
        graph.subscribe(MarkerArray, MARKERS, take, STATE)
        within_s = STARTS_WITHIN_S if grid.is_here else APPEARS_WITHIN_S
        if not graph.wait_for(lambda: bool(newest), within_s=within_s):
            raise CommandError("nobody draws this grid; start it with `apisctl run --markers`")
        if flowing and not graph.wait_for(flows, within_s=ENERGY_FLOWS_WITHIN_S):
            raise CommandError(f"no current flowed in {ENERGY_FLOWS_WITHIN_S:g} s")
        markers = list(newest)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        save_picture(markers, out, width_px=width, height_px=height)
    except OSError as error:
        raise usage_error("--out", out, f"cannot be written: {error.strerror}") from None
