"""Where a recording goes, and what is said of a file that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from mcap.writer import Writer

from apis_bringup.recording import recorded_grid
from apis_bringup.recording_file import recorded_file, recording_file
from apis_core.model.errors import ConfigError


def test_a_name_without_a_suffix_is_a_folder_as_of_rosbag2(tmp_path):
    assert recording_file(tmp_path / "day.mcap") == tmp_path / "day.mcap"
    assert recording_file(tmp_path / "day") == tmp_path / "day" / "day_0.mcap"
    empty = tmp_path / "empty.d"
    empty.mkdir()
    assert recording_file(empty) == empty / "empty.d_0.mcap"


@pytest.mark.parametrize("name", ["precious.txt", "day.mcap", "day"])
def test_what_is_there_is_not_written_over(tmp_path, name):
    path = tmp_path / name
    if path.suffix:
        path.write_text("dear")
    else:
        path.mkdir()
        (path / "day_0.mcap").write_text("dear")

    with pytest.raises(
        ConfigError, match="must not be there already; choose another name, or --overwrite"
    ):
        recording_file(path)
    assert recording_file(path, overwrite=True).read_text() == "dear"


def test_a_recording_is_found_in_its_folder(tmp_path):
    with pytest.raises(ConfigError, match="there are: none"):
        recorded_file(tmp_path)
    file = tmp_path / "day_0.mcap"
    file.touch()
    assert recorded_file(tmp_path) == recorded_file(file) == file


def a_recording(file: Path) -> bytes:
    with file.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        writer.add_attachment(0, 0, "other", "text/plain", b"x" * 100)
        writer.finish()
    return file.read_bytes()


def test_what_a_file_is_and_how_to_recover_it_is_said(tmp_path):
    file = tmp_path / "day.mcap"
    whole = a_recording(file)
    for content, said in (
        (whole, "must be made by `apisctl record`; `ros2 bag play` plays others"),
        (whole[:-20], "it was cut off: `mcap recover FILE"),
        (b"SQLite format 3\0...", "`ros2 bag convert` makes an MCAP file of it"),
        (b"no mcap", "it begins with b'no mcap', which no MCAP file does"),
        (b"", "it begins with b''"),
    ):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
            recorded_grid(file, None)
