"""What rosbag2 knows of a recording, as it writes it: into `metadata.yaml` and into the file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from rclpy.qos import QoSProfile

__all__ = ["METADATA_FILE", "Topic", "as_yaml", "bag_information", "qos_profile"]

METADATA_FILE = "metadata.yaml"
VERSION = 9  # of rosbag2's format since Kilted; Jazzy reads it, too
INFINITE = {"sec": 9223372036, "nsec": 854775807}


@dataclass
class Topic:
    """A topic of a recording.

    Attributes:
        type_name: Such as ``apis_interfaces/msg/Deal``.
        qos: With which it was offered.
        type_hash: Of the type's description (REP 2016); empty = not known.
        count: Its messages.
    """

    type_name: str
    qos: QoSProfile
    type_hash: str = ""
    count: int = 0


def bag_information(
    file_name: str,
    topics: Mapping[str, Topic],
    times_ns: tuple[int, int],
    facts: Mapping[str, str],
) -> dict[str, Any]:
    """The value of `rosbag2_bagfile_information`.

    Args:
        file_name: Of the MCAP file, without a folder.
        topics: By name.
        times_ns: Of the first and the last message; (0, 0) = there are none. [ns]
        facts: About the run.
    """
    first_ns, last_ns = times_ns
    count = sum(topic.count for topic in topics.values())
    span = {
        "duration": {"nanoseconds": last_ns - first_ns},
        "starting_time": {"nanoseconds_since_epoch": first_ns},
        "message_count": count,
    }
    return {
        "version": VERSION,
        "storage_identifier": "mcap",
        **span,
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": name,
                    "type": topic.type_name,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": [qos_profile(topic.qos)],
                    "type_description_hash": topic.type_hash,
                },
                "message_count": topic.count,
            }
            for name, topic in topics.items()
        ],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [file_name],
        "files": [{"path": file_name, **span}],
        "custom_data": dict(facts),
        "ros_distro": os.environ.get("ROS_DISTRO", "unknown"),
    }


def qos_profile(qos: QoSProfile) -> dict[str, Any]:
    """A profile as rosbag2 has written it since Iron."""
    return {
        "history": "keep_last",
        "depth": max(qos.depth, 1),
        "reliability": qos.reliability.name.lower(),
        "durability": qos.durability.name.lower(),
        "deadline": dict(INFINITE),
        "lifespan": dict(INFINITE),
        "liveliness": "automatic",
        "liveliness_lease_duration": dict(INFINITE),
        "avoid_ros_namespace_conventions": False,
    }


def as_yaml(value: Any) -> str:
    """YAML as rosbag2 reads it: block style, in the order given."""
    text: str = yaml.dump(value, Dumper=_PlainDumper, sort_keys=False)
    return text


class _PlainDumper(yaml.SafeDumper):
    """Writes what stands twice in full, instead of a reference to it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
