"""YAML for people who make mistakes: the line of a syntax error, and keys that stand twice."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from apis_core.errors import ConfigError, Problem

__all__ = ["load_yaml"]


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, except that a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} stands twice; keep one",
                    problem_mark=key_node.start_mark,
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_yaml(text: str, source: str) -> Any:
    """The data of a YAML text.

    Args:
        text: The file's content.
        source: The file's name, as the user gave it.

    Raises:
        ConfigError: It is not YAML; says where and why.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        why = error.problem or error.context or "is not YAML"
        raise ConfigError([Problem(source, where, "", why)]) from None
    except yaml.YAMLError as error:
        raise ConfigError([Problem(source, "", "", " ".join(str(error).split()))]) from None
