"""The YAML format of a rule set, for people to edit and to put under version control."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import yaml
from yaml.nodes import MappingNode

from shared.errors import InvalidInput
from shared.rules.schema import RULES_MAX, Rule, parse, to_json

DEPTH_MAX = 6
SCALAR_MAX = 1_000  # characters; some forms of numbers take long to read
# What the library raises for a value that is not of the form its tag asks for.
_UNREADABLE = (yaml.YAMLError, ValueError, IndexError, KeyError, AttributeError, TypeError)
EVENTS_MAX = 40 * RULES_MAX  # a rule has some twenty
_HEAD = "# The first rule that fits counts. docs/rules.md says what a rule can ask for.\n"


class _Loader(yaml.CSafeLoader):
    """A loader of plain values that refuses duplicate keys."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                line = node.start_mark.line + 1
                raise yaml.YAMLError(f"{name!r} is there twice in what begins in line {line}")
            seen.add(name)
        return super().construct_mapping(node, deep)


def dump(rules: Sequence[Rule]) -> str:
    """Write the YAML text that `load` reads."""
    return _HEAD + yaml.safe_dump(
        {"rules": to_json(rules)}, allow_unicode=True, sort_keys=False, width=100
    )


def load(text: str) -> list[Rule]:
    """Parse the rules of a YAML text: a mapping with the one key `rules`.

    Raises:
        InvalidInput: it is no YAML, or not the expected form; names the field.
    """
    try:
        _check(text)
        document = yaml.load(text, _Loader)  # noqa: S506  it is a safe one
    except _UNREADABLE as error:
        message = "is no YAML: " + " ".join(str(error).split())[:300]
        raise InvalidInput.of_field("(body)", message) from None
    if not isinstance(document, dict) or set(document) != {"rules"}:
        raise InvalidInput.of_field(
            "(body)", "expected one key, rules, and under it the list of rules"
        )
    if not isinstance(document["rules"], list):
        raise InvalidInput.of_field("rules", "expected a list")
    return parse(document["rules"])


def _check(text: str) -> None:
    """Refuse a text that takes long to parse; aliases let a short one stand for a huge one."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, _Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*name) is not allowed")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > SCALAR_MAX:
            raise yaml.YAMLError(f"a text in it is longer than {SCALAR_MAX:,} characters")
        if depth > DEPTH_MAX:
            raise yaml.YAMLError("it is nested too deeply")
        if number > EVENTS_MAX:
            raise yaml.YAMLError(f"it is more than {RULES_MAX:,} rules can be")


def starter_rules() -> str:
    """Read the example file of rules to start from."""
    return files("shared.rules").joinpath("data", "starter_rules.yaml").read_text(encoding="utf-8")
