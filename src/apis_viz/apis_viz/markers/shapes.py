"""Markers by their geometry; ids are text here, and numbers only where they go out."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker

__all__ = ["Colour", "Point3", "arrow", "box", "roof", "strip", "text"]


@dataclass(frozen=True)
class Colour:
    """Red, green, blue and opacity, 0..1."""

    r: float
    g: float
    b: float
    a: float = 1.0

    def faded(self, alpha: float) -> Colour:
        """The same, less opaque."""
        return replace(self, a=self.a * alpha)

    def mixed(self, other: Colour, share: float) -> Colour:
        """Between this one (share 0) and another (1)."""

        def mix(mine: float, its: float) -> float:
            return mine + (its - mine) * share

        return Colour(
            mix(self.r, other.r), mix(self.g, other.g), mix(self.b, other.b), mix(self.a, other.a)
        )

    def message(self) -> ColorRGBA:
        """As ROS has it."""
        return ColorRGBA(r=self.r, g=self.g, b=self.b, a=self.a)


@dataclass(frozen=True)
class Point3:
    """A place: east, north, up. [m]"""

    x: float
    y: float
    z: float

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Point3:
        """A place beside it."""
        return Point3(self.x + x, self.y + y, self.z + z)

    def towards(self, other: Point3, share: float) -> Point3:
        """A place on the way to another: 0 here, 1 there."""
        return Point3(
            self.x + (other.x - self.x) * share,
            self.y + (other.y - self.y) * share,
            self.z + (other.z - self.z) * share,
        )

    def message(self) -> Point:
        """As ROS has it."""
        return Point(x=self.x, y=self.y, z=self.z)


def box(
    kind: str, name: str, at: Point3, size_m: tuple[float, float, float], colour: Colour
) -> Marker:
    """An upright box that stands on a place."""
    marker = _marker(Marker.CUBE, kind, name, colour)
    marker.pose.position = at.moved(z=size_m[2] / 2.0).message()
    marker.scale = Vector3(x=size_m[0], y=size_m[1], z=size_m[2])
    return marker


def roof(
    kind: str, name: str, at: Point3, width_m: float, height_m: float, colour: Colour
) -> Marker:
    """A gable roof, its ridge from west to east, over a square of `width_m`."""
    half, over = 0.56 * width_m, 0.56 * width_m
    sw, se = Point3(-over, -half, 0.0), Point3(over, -half, 0.0)
    nw, ne = Point3(-over, half, 0.0), Point3(over, half, 0.0)
    west, east = Point3(-over, 0.0, height_m), Point3(over, 0.0, height_m)
    faces = (
        *(sw, se, east), *(sw, east, west),  # south
        *(ne, nw, west), *(ne, west, east),  # north
        *(nw, sw, west), *(se, ne, east),  # gables
    )  # fmt: skip
    marker = _marker(Marker.TRIANGLE_LIST, kind, name, colour)
    marker.pose.position = at.message()
    marker.scale = Vector3(x=1.0, y=1.0, z=1.0)
    marker.points = [corner.message() for corner in faces]
    return marker


def strip(
    kind: str, name: str, points: Sequence[Point3], width_m: float, colour: Colour
) -> Marker:
    """A line through places."""
    marker = _marker(Marker.LINE_STRIP, kind, name, colour)
    marker.scale.x = width_m
    marker.points = [point.message() for point in points]
    return marker


def arrow(
    kind: str, name: str, tail: Point3, head: Point3, width_m: float, colour: Colour
) -> Marker:
    """An arrow; its shaft is `width_m` thick, its head twice that."""
    marker = _marker(Marker.ARROW, kind, name, colour)
    marker.scale = Vector3(x=width_m, y=2.0 * width_m, z=0.0)  # z = 0: the head's usual length
    marker.points = [tail.message(), head.message()]
    return marker


def text(kind: str, name: str, at: Point3, height_m: float, words: str, colour: Colour) -> Marker:
    """Words that face whoever looks; `height_m` is that of a capital letter."""
    marker = _marker(Marker.TEXT_VIEW_FACING, kind, name, colour)
    marker.pose.position = at.message()
    marker.scale.z = height_m
    marker.text = words
    return marker


def _marker(type_: int, kind: str, name: str, colour: Colour) -> Marker:
    marker = Marker(ns=kind, type=type_, action=Marker.ADD, color=colour.message())
    marker.id = zlib.crc32(name.encode()) & 0x7FFFFFFF  # the same in every run
    marker.pose.orientation.w = 1.0
    return marker
