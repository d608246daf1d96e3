import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis_core.config.jsonc import parse_object, without_comments
from apis_core.model.errors import ConfigError

texts = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
keys = texts.filter(lambda key: not key.startswith("#"))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | texts
    | st.sampled_from(["//", '"//', "\\", "/*", "*/", "http://a/*b*/"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
)
texts_of_comments = st.characters(exclude_characters="*", exclude_categories=["Cs"])
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


@given(objects, st.text(alphabet=texts_of_comments))
def test_a_comment_between_any_two_lines_changes_nothing(data, comment):
    lines = json.dumps(data, indent=1).split("\n")
    assert data_of(f"/*{comment}*/".join(["", *(f"{line}\n" for line in lines), ""])) == data


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
        /* over
         * lines " // */ "not" : "/* a comment */",
        "#_strategy" : "amount", "#off" : { "#" : 1 },
        "inner" : { "#" : 1, "list" : [ { "#" : 2 }, 3 ], "#" : 4 }, //
        "" : "",
        "#" : "end"
    }"""
    assert data_of(text) == {
        "url": "http://example.org//x",
        "not": "/* a comment */",
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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '{"a": 1,\n /* begun',
            "f.json: line 2, column 2 is `/* begun`, this comment needs a */ at its end",
        ),
        (
            '{"a":\n' + "[" * 100_000,
            "f.json: line 2: must not nest deeper than 32 objects and lists in one another",
        ),
        ('{"a": [' * 40, "f.json: line 1: must not nest deeper than 32 objects and lists"),
    ],
)
def test_what_goes_on_without_end(text, told):
    (problem,) = problems_of(text)
    assert problem.startswith(told)


def test_what_looks_deep_in_a_text_is_not():
    assert data_of('{"a": "' + "[" * 100 + '"}') == {"a": "[" * 100}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (r'{"a": ["\ud800"]}', "f.json: a[0]: must not hold the character U+D800"),
        (r'{"a": "x\u0000"}', "f.json: a: must not hold the character U+0000"),
        (r'{"\udfff": 1}', r"f.json: \udfff: the key must not hold the character U+DFFF"),
    ],
)
def test_a_text_that_no_message_can_carry_is_a_problem(text, told):
    _, problems = parse_object(text, "f.json")
    assert [str(problem) for problem in problems] == [told]


def test_a_pair_of_surrogates_is_one_character():
    assert data_of(r'{"a": "\ud83d\ude00"}') == {"a": "\U0001f600"}


def test_a_whole_number_is_one_however_it_is_written():
    data = data_of('{"a": 50.0, "b": 5e1, "c": 50.5, "d": 1e300, "e": ' + "9" * 5000 + "}")
    assert [type(value) for value in data.values()] == [int, int, float, float, float]
    assert list(data.values())[:4] == [50, 50, 50.5, 1e300]
