"""YAML as people write it, and as ROS reads it."""

from __future__ import annotations

import pytest
import yaml

from apis_core.model.errors import ConfigError
from apis_site.yaml_text import load_yaml, quoted_yaml


def why_not(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_yaml(text, "g.yaml")
    return str(caught.value)


def test_merge_keys_are_taken_and_what_stands_here_holds():
    text = """
    house: &house {pv: 1, load: 2}
    units:
      - house: {<<: *house, load: 3}
      - house: {<<: [*house, {mains: false}]}
    """
    assert load_yaml(text, "g.yaml")["units"] == [
        {"house": {"pv": 1, "load": 3}},
        {"house": {"pv": 1, "load": 2, "mains": False}},
    ]


def test_a_whole_number_may_have_a_point():
    assert load_yaml("{a: 50.0, b: 50.5}", "g.yaml") == {"a": 50, "b": 50.5}
    assert isinstance(load_yaml("50.0", "g.yaml"), int)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\na: 2", "g.yaml: line 2, column 1: the key 'a' stands twice; keep one"),
        ("x:\n  a: {<<: {b: 1}, c: 1, c: 2}", "line 2, column 25: the key 'c' stands twice"),
        ("start: 2025-13-45 08:00:00", "g.yaml: line 1, column 8: month must be in 1..12"),
        ("a: " + "9" * 5000, "line 1, column 4: Exceeds the limit"),
        ("? [a]\n: b", "line 1, column 3: a key must be a text"),
        ("a: " + "[" * 5000, "g.yaml: must not nest deeper than 32"),
        ("a: " + "[" * 40 + "]" * 40, "must not nest deeper than 32"),
        ("a: &a [*a]", "must not nest deeper than 32"),
        ('a: "\\ud800"', "line 1, column 4: must not hold the character U+D800"),
        ("a: [", "g.yaml: line 1"),
        ("a: 1\n---\nb: 2", "g.yaml: line 2"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text, told):
    assert told in why_not(text)


def test_aliases_of_aliases_are_not_taken_apart_without_end():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "aliases make more than" in why_not("\n".join(lines))


@pytest.mark.parametrize(
    "text", ["n", "Y", "1e5", "INF", "~", "a\nb", " a ", "\x85", "通り", "x" * 500]
)
def test_every_text_is_written_in_quotes(text):
    written = quoted_yaml({"a": {"b": text, "c": 1, "d": 1.5, "e": True}})
    assert written.startswith('"a":\n  "b": "')
    assert len(written.splitlines()) == 5
    assert yaml.safe_load(written) == {"a": {"b": text, "c": 1, "d": 1.5, "e": True}}
