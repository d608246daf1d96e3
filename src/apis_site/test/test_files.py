"""Reading the files that people write for a grid."""

from __future__ import annotations

import os
import socket

import pytest

from apis_core.model.errors import ConfigError
from apis_site.files import TEXT_LIMIT_BYTES, read_text


def why_not(file, **options) -> str:
    with pytest.raises(ConfigError) as caught:
        read_text(file, "f.json", **options)
    (problem,) = caught.value.problems
    return str(problem)


def test_a_text_is_read_with_or_without_a_byte_order_mark(tmp_path):
    for data in ("通り".encode(), "\ufeff通り".encode()):
        (tmp_path / "f").write_bytes(data)
        assert read_text(tmp_path / "f") == "通り"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("a\nStraße".encode("latin-1"), "must be UTF-8 text (policy): byte 0xDF in line 2 is not"),
        ("a".encode("utf-16"), "must be UTF-8 text (policy): this is UTF-16; save it as UTF-8"),
    ],
)
def test_another_encoding_is_told_with_its_line(tmp_path, data, told):
    (tmp_path / "f").write_bytes(data)
    assert why_not(tmp_path / "f", what="policy") == f"f.json: {told}"


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "f")
    assert why_not(tmp_path / "f") == "f.json: must be an ordinary file, not a pipe"


def test_what_is_no_file(tmp_path):
    assert why_not(tmp_path) == "f.json: must be an ordinary file, not a folder"
    assert why_not("/dev/zero") == "f.json: must be an ordinary file, not a device"
    assert why_not(tmp_path / "none") == "f.json: no such file"
    assert why_not("a\0b") == "f.json: embedded null byte"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert why_not(tmp_path / "s").startswith("f.json: cannot be read")


def test_a_huge_file_is_not_read_whole(tmp_path):
    with (tmp_path / "f").open("wb") as file:
        file.truncate(TEXT_LIMIT_BYTES + 1)
    assert why_not(tmp_path / "f") == "f.json: must not be larger than 1,048,576 bytes"
    assert why_not(tmp_path / "f", limit_bytes=10) == "f.json: must not be larger than 10 bytes"
