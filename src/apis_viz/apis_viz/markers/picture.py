"""Draws a marker array to a picture, without RViz: it knows visualization_msgs and nothing else.

It takes what the node published, so that a person (or a test) sees what RViz would be given. It is
small: the marker types that the grid uses, flat light, and depth by matplotlib's sorting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection
from visualization_msgs.msg import Marker

__all__ = ["draw", "save_picture"]

BACKGROUND = "#30343a"
ELEVATION_DEG, AZIMUTH_DEG = 34.0, -70.0
ON_GROUND, ABOVE_ALL = 1, 1e6  # drawn before and after what stands on the ground
LIGHT = np.array([-0.35, -0.55, 0.76])
CUBE = [
    [(0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 0)],
    [(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)],
    [(0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)],
    [(0, 1, 0), (0, 1, 1), (1, 1, 1), (1, 1, 0)],
    [(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0)],
    [(1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1)],
]


def save_picture(
    markers: Sequence[Marker], out: Path, *, width_px: int = 1440, height_px: int = 900
) -> None:
    """Draw markers into a PNG file."""
    figure = Figure(figsize=(width_px / 100.0, height_px / 100.0), dpi=100, facecolor=BACKGROUND)
    draw(figure, markers)
    figure.savefig(out, facecolor=BACKGROUND)


def draw(figure: Figure, markers: Sequence[Marker]) -> None:
    """Draw markers into a figure; raises ValueError for a type of marker that it does not know."""
    # its type, Axes3D, is not what add_axes is declared to return
    axes: Any = figure.add_axes((0.0, 0.0, 1.0, 1.0), projection="3d", facecolor=BACKGROUND)
    axes.set_axis_off()
    axes.view_init(elev=ELEVATION_DEG, azim=AZIMUTH_DEG)
    axes.computed_zorder = False  # it sorts by the middle of all points; see _depth
    axes.set_proj_type("persp", focal_length=0.9)
    corners: list[np.ndarray[Any, Any]] = []
    shown = [marker for marker in markers if marker.action == Marker.ADD]
    scale = _Pixels(axes, figure)
    texts = []
    for marker in shown:
        if marker.type == Marker.TEXT_VIEW_FACING:
            texts.append(marker)
            corners.append(_origin(marker)[None, :])
        elif marker.type in (Marker.CUBE, Marker.TRIANGLE_LIST):
            faces = _faces(marker)
            corners += faces
            _add(axes, _solid(faces, _rgba(marker)), _depth(faces))
        elif marker.type in (Marker.LINE_STRIP, Marker.ARROW):
            corners.append(_points(marker))
        else:
            raise ValueError(f"marker {marker.ns}/{marker.id}: type {marker.type} is not drawn")
    scale.fit(np.concatenate(corners) if corners else np.zeros((1, 3)))
    for marker in shown:  # widths are in metres: only now is it known how many pixels that is
        if marker.type == Marker.LINE_STRIP:
            points = _points(marker)
            width = scale.points_per_m * marker.scale.x
            lines = Line3DCollection([points], colors=[_rgba(marker)], linewidths=width)
            _add(axes, lines, _rank(points))
        elif marker.type == Marker.ARROW:
            faces = _arrow_faces(marker)
            _add(axes, _solid(faces, _rgba(marker)), _rank(_points(marker)) + 1)
    for marker in texts:
        axes.text(
            *_origin(marker),
            marker.text,
            color=_rgba(marker),
            size=max(7.0, 1.3 * scale.points_per_m * marker.scale.z),
            ha="center",
            va="center",
            zorder=2.0 * ABOVE_ALL,
        )


class _Pixels:
    """The view's limits, and how large a metre is in it."""

    def __init__(self, axes: Any, figure: Figure) -> None:
        self._axes = axes
        self._figure = figure
        self.points_per_m = 1.0

    def fit(self, corners: np.ndarray[Any, Any]) -> None:
        low, high = corners.min(axis=0), corners.max(axis=0)
        span = np.maximum(high - low, 1e-3)
        self._axes.set_xlim(low[0], high[0])
        self._axes.set_ylim(low[1], high[1])
        self._axes.set_zlim(low[2], high[2])
        self._axes.set_box_aspect(tuple(span), zoom=1.05)
        self.points_per_m = 0.5 * 72.0 * self._figure.get_figwidth() / float(np.linalg.norm(span))


def _add(axes: Any, collection: Any, order: float) -> None:
    axes.add_collection3d(collection)
    collection.set_zorder(order)
    collection.set_clip_on(False)


def _depth(faces: Sequence[np.ndarray[Any, Any]]) -> float:
    """The nearer to who looks, the greater; greater than what lies on the ground."""
    azimuth, elevation = np.radians(AZIMUTH_DEG), np.radians(ELEVATION_DEG)
    flat = np.cos(elevation)
    towards = (flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation))
    return 1000.0 + float(np.concatenate(list(faces)).mean(axis=0) @ np.array(towards))


def _rank(points: np.ndarray[Any, Any]) -> float:
    """A line on the ground lies below everything, an arc over the houses above it."""
    return ON_GROUND if np.ptp(points[:, 2]) < 1e-6 else ABOVE_ALL


def _rgba(marker: Marker) -> tuple[float, float, float, float]:
    return (marker.color.r, marker.color.g, marker.color.b, marker.color.a)


def _origin(marker: Marker) -> np.ndarray[Any, Any]:
    position = marker.pose.position
    return np.array([position.x, position.y, position.z])


def _points(marker: Marker) -> np.ndarray[Any, Any]:
    points = np.array([(point.x, point.y, point.z) for point in marker.points])
    return np.asarray(points + _origin(marker))


def _faces(marker: Marker) -> list[np.ndarray[Any, Any]]:
    if marker.type == Marker.TRIANGLE_LIST:
        return list(_points(marker).reshape(-1, 3, 3))
    size = np.array([marker.scale.x, marker.scale.y, marker.scale.z])
    return [_origin(marker) + (np.array(face) - 0.5) * size for face in CUBE]


def _arrow_faces(marker: Marker) -> list[np.ndarray[Any, Any]]:
    """A flat arrow, seen best from above: shaft and head."""
    tail, head = _points(marker)
    along = head - tail
    length = float(np.linalg.norm(along)) or 1.0
    side = np.cross(along, (0.0, 0.0, 1.0))
    side /= float(np.linalg.norm(side)) or 1.0
    shaft, wide = side * marker.scale.x / 2.0, side * marker.scale.y / 2.0
    neck = head - along / length * min(1.5 * marker.scale.y, 0.6 * length)
    return [
        np.array([tail - shaft, tail + shaft, neck + shaft, neck - shaft]),
        np.array([neck - wide, neck + wide, head]),
    ]


def _solid(faces: Iterable[np.ndarray[Any, Any]], rgba: tuple[float, ...]) -> Poly3DCollection:
    faces = list(faces)
    colours = [(*(np.array(rgba[:3]) * _brightness(face)), rgba[3]) for face in faces]
    return Poly3DCollection(faces, facecolors=colours, edgecolors="none")


def _brightness(face: np.ndarray[Any, Any]) -> float:
    normal = np.cross(face[1] - face[0], face[2] - face[0])
    length = float(np.linalg.norm(normal))
    return 0.75 if length == 0.0 else 0.68 + 0.32 * abs(float(normal @ LIGHT)) / length
