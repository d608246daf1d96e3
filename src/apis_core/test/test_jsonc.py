import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis_core.errors import ConfigError
from apis_core.jsonc import parse_object, without_comments

keys = st.text(max_size=6).filter(lambda key: key != "#")
scalars = (
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["//", '"//', "\\"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
)
objects = st.dictionaries(keys, values, max_size=4)


def data_of(text: str) -> dict[str, Any]:
    data, problems = parse_object(text, "f.json")
    assert not problems
    return data


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_object(text, "f.json")
    return [str(problem) for problem in caught.value.problems]


@given(objects, st.booleans())
def test_json_without_comments_is_read_as_json(data, ascii_only):
    assert data_of(json.dumps(data, ensure_ascii=ascii_only)) == data


@given(objects, st.text(alphabet=st.characters(blacklist_characters="\n")))
def test_a_comment_at_the_end_of_every_line_changes_nothing(data, comment):
    lines = json.dumps(data, indent=1).split("\n")
    assert data_of("\n".join(f"{line} // {comment}" for line in lines)) == data


@given(st.text())
def test_without_comments_keeps_every_place(text):
    clean = without_comments(text)
    assert len(clean) == len(text)
    assert [i for i, c in enumerate(clean) if c == "\n"] == [
        i for i, c in enumerate(text) if c == "\n"
    ]


def test_the_originals_style():
    text = """\ufeff{
        // CONFIG.policyFile \u3067\u6307\u5b9a
        "#" : "place this file",
        "url" : "http://example.org//x", // a "quoted" word
        "inner" : { "#" : 1, "list" : [ { "#" : 2 }, 3 ], "#" : 4 }, //
        "" : "",
        "#" : "end"
    }"""
    assert data_of(text) == {
        "url": "http://example.org//x",
        "inner": {"list": [{}, 3]},
        "": "",
    }


def test_keys_that_stand_twice_are_reported_with_their_path():
    text = '{"a": 1, "b": {"c": 1, "c": 2, "c": 3}, "a": [{"d": 1, "d": 2}]}'
    data, problems = parse_object(text, "f.json")
    assert [str(p) for p in problems] == [
        "f.json: a: stands twice; keep one",
        "f.json: a[0].d: stands twice; keep one",
        "f.json: b.c: stands twice; keep one",
    ]
    assert data == {"a": [{"d": 2}], "b": {"c": 3}}


def test_a_syntax_error_is_told_with_line_column_and_text():
    text = '{\n  // a comment "\n  "a" : 1,\n  "b" : oops, // c\n}'
    assert problems_of(text) == ['f.json: line 4, column 9 is `"b" : oops, // c`, Expecting value']


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "f.json: line 1, column 1: Expecting value"),
        ("// nothing else", "f.json: line 1, column 16 is `// nothing else`, Expecting value"),
        ("[1]", "f.json: must be one JSON object { ... }"),
        ('{"a": NaN}', "f.json: NaN is not a number that JSON knows"),
        ('{"a": -Infinity}', "f.json: -Infinity is not a number that JSON knows"),
        ('{"a": 1} {', 'f.json: line 1, column 10 is `{"a": 1} {`, Extra data'),
    ],
)
def test_what_is_no_json_object(text, told):
    assert problems_of(text) == [told]
