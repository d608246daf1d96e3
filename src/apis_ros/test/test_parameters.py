"""Parameters of a node, on a real one."""

from __future__ import annotations

import argparse

import pytest

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip("rclpy")

from apis_core.config.validation import UnitIdText  # noqa: E402
from apis_core.model.errors import ConfigError  # noqa: E402
from apis_ros.parameters import NodeParameter, declare_parameters, text_argument  # noqa: E402

PARAMETERS = (
    NodeParameter(name="hardware_file", default="", about="Path of the hwConfig"),
    NodeParameter(name="speed", default=1.0, about="Pace", least=0.1, most=100.0),
    NodeParameter(name="port", default=0, about="Port", least=0, most=65535),
    NodeParameter(name="is_silent", default=False, about="No answer", is_changeable=True),
)
GROUPS = {"battery": "Kind and settings of the battery"}


@pytest.fixture
def make_node(own_ros_domain):
    rclpy.init()
    nodes = []

    def make(**overrides):
        from rclpy.parameter import Parameter

        given = [Parameter(name.replace("__", "."), value=v) for name, v in overrides.items()]
        nodes.append(rclpy.create_node("node", parameter_overrides=given))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()


def test_values_come_from_the_file_and_from_the_defaults(make_node):
    node = make_node(
        hardware_file="h.json", speed=3, battery__kind="modbus", battery__line__baud=9600
    )
    values = declare_parameters(node, PARAMETERS, GROUPS)
    assert values == {
        "hardware_file": "h.json",
        "speed": 3.0,
        "port": 0,
        "is_silent": False,
        "battery": {"kind": "modbus", "line": {"baud": 9600}},
    }


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            {"harware_file": "h.json"},
            "harware_file: unknown parameter; did you mean hardware_file?",
        ),
        ({"batery__kind": "modbus"}, "batery: unknown parameter; did you mean battery?"),
        ({"colour": 3}, "colour: unknown parameter; it knows hardware_file, speed"),
        ({"battery": "modbus"}, 'battery is "modbus", must be a group of parameters'),
        ({"speed": "fast"}, 'speed is "fast", must be a number from 0.1 to 100: Pace'),
        ({"speed": 0.0}, "speed is 0.0, must be a number from 0.1 to 100"),
        ({"speed": float("nan")}, "speed is NaN, must be a number"),
        ({"speed": True}, "speed is true, must be a number"),
        ({"hardware_file": 5}, "hardware_file is 5, must be text in quotes"),
        ({"port": 1.5}, "port is 1.5, must be a whole number from 0 to 65535"),
        ({"is_silent": 1}, "is_silent is 1, must be true or false"),
    ],
)
def test_what_a_node_does_not_know_is_refused(make_node, overrides, said):
    with pytest.raises(ConfigError) as raised:
        declare_parameters(make_node(**overrides), PARAMETERS, GROUPS)
    [problem] = raised.value.problems
    assert str(problem).startswith("/node parameters: ")
    assert said in str(problem)


def test_everything_is_described_and_only_what_is_harmless_may_change(make_node):
    from rclpy.parameter import Parameter

    node = make_node(battery__kind="modbus")
    declare_parameters(node, PARAMETERS, GROUPS)
    for name in (*(p.name for p in PARAMETERS), "battery.kind", "use_sim_time"):
        told = node.describe_parameter(name)
        assert told.description
        assert told.read_only == (name != "is_silent")
    assert node.describe_parameter("speed").floating_point_range[0].to_value == 100.0
    assert node.describe_parameter("port").integer_range[0].to_value == 65535
    for name, value in (("speed", 3.0), ("hardware_file", "/x"), ("use_sim_time", True)):
        [result] = node.set_parameters([Parameter(name, value=value)])
        assert not result.successful
        assert "read-only" in result.reason
    assert not node.get_parameter("use_sim_time").value
    [result] = node.set_parameters([Parameter("is_silent", value=True)])
    assert result.successful


def test_a_name_on_the_command_line_is_checked_as_in_the_grid_file():
    unit = text_argument(UnitIdText)
    assert unit("E001") == "E001"
    with pytest.raises(argparse.ArgumentTypeError, match="'E-1': must be a unit id such as E001"):
        unit("E-1")
