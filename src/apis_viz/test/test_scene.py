"""The picture for RViz: what it says, and that somebody who knows only markers can draw it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("visualization_msgs.msg", reason="needs the ROS environment")

from visualization_msgs.msg import Marker

from apis_site.grid import GridDescription
from apis_site.plan import GridPlan, Place
from apis_viz.markers.node import transforms
from apis_viz.markers.scene import BusLook, DealLook, HouseLook, scene

PLAN = GridPlan.of([Place("E001", 0.0, 0.0), Place("E002", 20.0, 0.0), Place("E003", 40.0, 0.0)])
BUS = BusLook("village", 350.1, 700.0, 3.0)


def house(unit_id: str, **look) -> HouseLook:
    return HouseLook(unit_id, **{"is_present": True, "soc_ratio": 0.5, **look})


def drawn(*houses: HouseLook, deals=(), limit_a=10.0) -> dict[tuple[str, str], Marker]:
    """Markers by kind and by the words or the order in which they came."""
    by_id = {look.unit_id: look for look in houses}
    found: dict[tuple[str, int], Marker] = {}
    for marker in scene(PLAN, by_id, deals, BUS, bus_limit_a=limit_a):
        assert (marker.ns, marker.id) not in found, "two markers of one name replace each other"
        found[marker.ns, marker.id] = marker
    return found


def of_kind(markers, kind: str) -> list[Marker]:
    return [marker for (ns, _), marker in markers.items() if ns == kind]


def test_a_house_stands_where_the_grid_file_says_and_its_battery_is_as_full_as_it_is():
    markers = drawn(house("E001", soc_ratio=0.25), house("E002", soc_ratio=0.75))

    east = sorted(marker.pose.position.x for marker in of_kind(markers, "house"))
    fills = of_kind(markers, "fill")
    cases = of_kind(markers, "battery")
    assert east == [0.0, 20.0, 40.0]
    assert [fill.scale.z / cases[0].scale.z for fill in fills] == pytest.approx([0.25, 0.75])
    assert len(cases) == 3  # E003 has not said how full it is


def test_flow_arrows_point_where_the_current_goes_and_grow_with_it():
    def flows(current_a: float) -> list[Marker]:
        return of_kind(
            drawn(
                house("E001", current_a=-current_a),
                house("E002", current_a=0.0),
                house("E003", current_a=current_a),
            ),
            "flow",
        )

    small, large, back = flows(1.0), flows(4.0), flows(-4.0)
    assert len(small) == len(large) == 2
    assert all(arrow.points[0].x < arrow.points[1].x for arrow in large)
    assert all(arrow.points[0].x > arrow.points[1].x for arrow in back)
    assert large[0].scale.x > small[0].scale.x
    assert flows(0.01) == []  # a meter's noise is no flow


def test_lines_take_the_colour_of_their_loading():
    def red_less_blue(current_a: float) -> float:
        line = of_kind(
            drawn(
                house("E001", current_a=-current_a),
                house("E002", current_a=0.0),
                house("E003", current_a=current_a),
            ),
            "line",
        )[0]
        return line.color.r - line.color.b

    assert red_less_blue(0.0) < red_less_blue(4.0) < red_less_blue(9.9)


def test_words_carry_units_roles_and_faults():
    markers = drawn(
        house("E001", current_a=-2.0, voltage_v=350.0, is_grid_master=True),
        house("E002", holds_reference=True, mode="soft stop", remark="bus_voltage_low"),
        HouseLook("E003", soc_ratio=0.4),
    )

    words = {marker.text.split()[0]: marker.text for marker in of_kind(markers, "words")}
    assert words["E001"] == "E001  50%\n-2.00 A  350.0 V\ngrid master"
    assert words["E002"] == "E002  50%\nholds the voltage\nsoft stop\nbus_voltage_low"
    assert words["E003"] == "E003  40%\nsilent"
    (title,) = of_kind(markers, "title")
    assert title.text == "village\n350.1 V, 700 W over the bus, 3 W lost in the lines"


def test_a_deal_is_an_arc_from_giver_to_taker_that_fills_up():
    deal = DealLook("d", "E003", "E001", 2.0, 100.0, 50.0, is_flowing=True)
    markers = drawn(house("E001"), house("E003"), deals=[deal])

    (arc,), (done,) = of_kind(markers, "deal"), of_kind(markers, "deal done")
    assert (arc.points[0].x, arc.points[-1].x) == (40.0, 0.0)
    assert len(done.points) == 13
    assert of_kind(markers, "deal words")[0].text == "E003 → E001  2 A\n50 of 100 Wh"


def test_frames_of_the_units_are_where_the_houses_are():
    unit = {"id": "E001", "hardware": "h", "scenario": "s", "position_m": [3, 4]}
    (frame,) = transforms(GridDescription.model_validate({"policy": "p", "units": [unit]}))

    assert (frame.header.frame_id, frame.child_frame_id) == ("grid", "e001")
    assert (frame.transform.translation.x, frame.transform.translation.y) == (3.0, 4.0)
    assert frame.transform.rotation.w == 1.0


def test_an_independent_renderer_draws_the_scene(tmp_path: Path):
    matplotlib_image = pytest.importorskip("matplotlib.image")
    from apis_viz.markers.picture import save_picture

    deal = DealLook("d", "E001", "E003", 2.0, 100.0, 50.0, is_flowing=True)
    empty = list(drawn().values())
    full = list(
        drawn(
            house("E001", soc_ratio=0.9, current_a=-2.0),
            house("E002", current_a=0.0),
            house("E003", current_a=2.0),
            deals=[deal],
        ).values()
    )
    pictures = []
    for name, markers in (("empty", empty), ("full", full)):
        save_picture(markers, tmp_path / f"{name}.png", width_px=600, height_px=400)
        pictures.append(matplotlib_image.imread(tmp_path / f"{name}.png")[:, :, :3])

    def is_green(r, g, b):  # a filled battery, behind the glass of its case
        return (g > 1.3 * r) & (g > 1.1 * b)

    def is_pink(r, g, b):  # a deal
        return (r > 1.3 * g) & (b > 1.1 * g)

    for has_colour in (is_green, is_pink):
        before, after = (has_colour(*picture.transpose(2, 0, 1)).mean() for picture in pictures)
        assert before < 0.0001
        assert after > 0.001


def test_rviz_shows_the_frame_and_the_topic_that_the_node_has():
    yaml = pytest.importorskip("yaml")
    file = Path(__file__).resolve().parents[3] / "rviz" / "grid.rviz"
    manager = yaml.safe_load(file.read_text())["Visualization Manager"]
    topics = [display.get("Topic", {}).get("Value") for display in manager["Displays"]]

    assert manager["Global Options"]["Fixed Frame"] == "grid"
    assert "/apis/village/markers" in topics
    assert json.dumps(manager)  # nothing in it that only YAML can say
