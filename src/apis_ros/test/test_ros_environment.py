"""What the environment says to ROS 2, each with one clear line."""

from __future__ import annotations

import os

import pytest

from apis_ros import ros_environment
from apis_ros.ros_environment import RosEnvironmentError, check_ros_environment


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """A right one, and nothing of the machine's."""
    index = tmp_path / "share" / "ament_index" / "resource_index" / "rmw_typesupport"
    index.mkdir(parents=True)
    (index / "rmw_fastrtps_cpp").touch()
    (index / "rmw_implementation").touch()
    for name in ("ROS_LOG_DIR", "ROS_HOME", "RMW_IMPLEMENTATION", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ROS_DOMAIN_ID", "101")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_a_right_environment_stays_as_it_is(monkeypatch):
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    before = dict(os.environ)

    check_ros_environment()

    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("ROS_DOMAIN_ID", "102", "from 0 to 101"),
        ("ROS_DOMAIN_ID", "233", "from 0 to 101"),
        ("ROS_DOMAIN_ID", "-1", "from 0 to 101"),
        ("ROS_DOMAIN_ID", "9" * 5000, "from 0 to 101"),
        ("ROS_DOMAIN_ID", "²", "from 0 to 101"),
        ("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF", "LOCALHOST"),
        ("ROS_AUTOMATIC_DISCOVERY_RANGE", "localhost", "LOCALHOST"),
        ("RMW_IMPLEMENTATION", "rmw_zenoh_cpp", "here is rmw_fastrtps_cpp"),
        ("RMW_IMPLEMENTATION", "rmw_implementation", "here is rmw_fastrtps_cpp"),
        ("ROS_LOG_DIR", "/proc/x", "cannot be written"),
    ],
)
def test_a_wrong_one_is_a_line_that_names_the_variable(monkeypatch, name, value, right):
    monkeypatch.setenv(name, value)

    with pytest.raises(RosEnvironmentError) as caught:
        check_ros_environment()

    assert name in str(caught.value)
    assert right in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("home", [None, "", "/proc/nobody"])
def test_without_a_home_the_logs_have_a_place(monkeypatch, tmp_path, home):
    if home is None:
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("HOME", home)

    check_ros_environment()

    assert os.environ["ROS_LOG_DIR"] == str(ros_environment.log_folder_of_ours())
    assert ros_environment.log_folder_of_ours().is_dir()
    assert ros_environment.log_folder_of_ours().is_relative_to(tmp_path)
