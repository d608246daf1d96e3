from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from apis_core.model.errors import ConfigError
from apis_driver.vectors import check_file, check_vectors

FILE = Path(__file__).parent / "data" / "eza2500_vectors.json"
DATA = json.loads(FILE.read_text())


def changed(vector_id: str, change) -> list[str]:
    data = copy.deepcopy(DATA)
    change(next(vector for vector in data["vectors"] if vector["id"] == vector_id))
    return list(check_vectors(data))


def test_every_recorded_vector_passes_both_ways():
    assert check_file(FILE) == (127, [])


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(vector):
        for part in path:
            vector = vector[part]
        vector[last] = value

    return change


@pytest.mark.parametrize(
    ("vector_id", "change", "said"),
    [
        ("1-1-stop", put("request", "hex", "05000010001100"), "request is 05000010001000"),
        ("1-1-stop", put("request", "result", "struct_error"), "must be refused"),
        ("6-4-defaults", put("request", "fields", "dig", "8.6"), "dig is 8.6"),
        ("1-1-cv", put("decoded", "raw", "mode", 21), "counts"),
        ("6-4-defaults", put("decoded", "fields", "dig", "2.3"), "values"),
        ("frame-trailing", put("decoded", "unread_bytes", 1), "2 bytes are left"),
        ("frame-noise", put("response", "hex", "ff007e"), "is timeout, it must be ok"),
        ("frame-foreign-address", put("strict", "result", "ok"), "is address_error"),
    ],
)
def test_a_vector_that_does_not_come_out_is_told(vector_id, change, said):
    complaints = changed(vector_id, change)
    assert complaints
    assert all(vector_id in line for line in complaints)
    assert any(said in line for line in complaints)


def test_a_table_that_differs_is_told():
    data = copy.deepcopy(DATA)
    data["commands"]["4-4"]["request"]["dvg"]["rating"] = "381"
    data["commands"]["1-1"]["code"] = "0x02"
    data["commands"]["99-1"] = {}
    assert len(list(check_vectors(data))) == 3


def test_what_is_no_vector_is_told_and_the_rest_is_checked():
    data = {"vectors": [{"id": "odd"}, *DATA["vectors"]]}
    [line] = check_vectors(data)
    assert line.startswith("odd: is no vector")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file"),
        ("{", "must be JSON"),
        ("[]", "format"),
        ('{"format": "other"}', 'format is "other", must be "eza2500-vectors/1"'),
        ('{"format": "eza2500-vectors/1"}', "vectors"),
    ],
)
def test_a_wrong_file_is_told(tmp_path, text, said):
    path = tmp_path / "vectors.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        check_file(path)
    assert said in str(raised.value) or "No such file" in str(raised.value)
