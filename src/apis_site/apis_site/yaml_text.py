"""YAML for people who make mistakes, read and written.

Read: the line of every error, keys that stand twice, and nothing that would not fit into a file of
this project. Written: so that ROS's own parser, which takes ``n`` for false and ``1e5`` for a
number, reads every text as a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from apis_core.config.jsonc import MAX_DEPTH, number, unsendable
from apis_core.model.errors import ConfigError, Problem

__all__ = ["load_yaml", "quoted_yaml"]

_MERGE = "tag:yaml.org,2002:merge"
_FLOAT = "tag:yaml.org,2002:float"
MAX_NODES = 500_000  # with what aliases repeat; a grid of 999 units has a tenth


class _Loader(yaml.SafeLoader):
    """The safe loader, except that a value that makes no sense is told with its place."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:  # such as the 45th of a month
            raise _wrong(str(error), node) from None
        except TypeError:  # a key that is a list
            raise _wrong("a key must be a text", node) from None
        if node.tag == _FLOAT and isinstance(value, float):
            return number(repr(value))
        return value


class _Quoting(yaml.SafeDumper):
    """The safe dumper, except that every text stands in quotes, and nothing is an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Quoting.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def quoted_yaml(data: Any) -> str:
    """A YAML text in which every text is quoted, whoever reads it."""
    return yaml.dump(data, Dumper=_Quoting, sort_keys=False, width=1_000_000)


def load_yaml(text: str, source: str) -> Any:
    """The data of a YAML text.

    Args:
        text: The file's content.
        source: The file's name, as the user gave it.

    Raises:
        ConfigError: It is not YAML, or says what no file here may say; says where and why.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            for wrong in _wrongs(loader, node):
                raise wrong
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        why = error.problem or error.context or "is not YAML"
        raise ConfigError([Problem(source, where, "", why)]) from None
    except yaml.YAMLError as error:
        raise ConfigError([Problem(source, "", "", " ".join(str(error).split()))]) from None
    except RecursionError:
        raise ConfigError([Problem(source, "", "", _TOO_DEEP)]) from None


_TOO_DEEP = f"must not nest deeper than {MAX_DEPTH} mappings and lists in one another"


def _wrong(why: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=why, problem_mark=node.start_mark)


def _wrongs(loader: _Loader, root: yaml.Node) -> Iterator[yaml.MarkedYAMLError]:
    """What is wrong in the nodes of a document, before anything is made of them.

    An alias counts as often as it stands there, for all that is done later with the data.
    """
    waiting = [(root, 1)]
    count = 0
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if depth > MAX_DEPTH:
            yield _wrong(_TOO_DEEP, node)
        if count > MAX_NODES:
            yield _wrong(f"the aliases make more than {MAX_NODES} values of this", node)
        if isinstance(node, yaml.ScalarNode):
            if wrong := unsendable(node.value):
                yield _wrong(wrong, node)
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(inner, depth + 1) for inner in node.value]
        elif isinstance(node, yaml.MappingNode):
            yield from _wrong_keys(loader, node)
            waiting += [(part, depth + 1) for pair in node.value for part in pair]


def _wrong_keys(loader: _Loader, node: yaml.MappingNode) -> Iterator[yaml.MarkedYAMLError]:
    """Keys that stand twice; what ``<<`` brings in may stand here, too, and then this holds."""
    seen = set()
    for key_node, _ in node.value:
        if key_node.tag == _MERGE:
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            yield _wrong("a key must be a text", key_node)
            continue
        key = loader.construct_object(key_node)
        if key in seen:
            yield _wrong(f"the key {key!r} stands twice; keep one", key_node)
        seen.add(key)
