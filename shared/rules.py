"""Rules: what a person wrote down once, so that it need not be learned. Data, in an order.

Texts are compared folded, by whole words; `/…/` is a regular expression of RE2, which takes time
in proportion to the text whatever the pattern: what could backtrack for ever it does not know.

Source: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import re2  # type: ignore[import-untyped]  # has no types
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from shared.clean import spaced
from shared.errors import FieldError, InvalidInput
from shared.features import CHANNELS, FeatureRow
from shared.suggest import RuleMatch
from shared.tables import LABEL_MAX

RULES_MAX = 1_000  # of one set
PATTERN_MAX = 400  # characters
_OPTIONS = re2.Options()
_OPTIONS.case_sensitive = False
_OPTIONS.max_mem = 1 << 20  # bytes of one compiled pattern
_OPTIONS.log_errors = False
BLOCK = 50  # rules of which one search tells whether any may fit
_WIDE = re2.Options()
_WIDE.case_sensitive = False
_WIDE.max_mem = 16 << 20
_WIDE.log_errors = False

_PRINTED = r"^[^\x00-\x1f\x7f]+$"
Finder = Callable[[str], bool]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=PATTERN_MAX, pattern=_PRINTED)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PRINTED)]
_LABEL = r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$"


class AmountRange(BaseModel):
    """Of the amount without its sign; both ends belong to it."""

    model_config = ConfigDict(extra="forbid")

    min: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    max: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("min or max is needed")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
        return self


class Rule(BaseModel):
    """A category, and what a transaction must have for it: all of the conditions, at least one."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    label: Annotated[str, StringConstraints(min_length=1, max_length=LABEL_MAX, pattern=_LABEL)]
    enabled: bool = True
    merchant: Pattern | None = None
    description: Pattern | None = None
    amount: AmountRange | None = None
    direction: Literal["in", "out"] | None = None
    account: (
        Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PRINTED)] | None
    ) = None
    channel: str | None = None

    @field_validator("merchant", "description")
    @classmethod
    def _readable(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            _finder(pattern)
        return pattern

    @field_validator("channel")
    @classmethod
    def _known(cls, channel: str | None) -> str | None:
        if channel is not None and channel not in CHANNELS:
            raise ValueError(f"must be one of {', '.join(CHANNELS)}")
        return channel

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        if not self.conditions:
            raise ValueError(
                "at least one of merchant, description, amount, direction, account and channel"
            )
        return self

    @property
    def conditions(self) -> dict[str, Any]:
        """Those that it has, as they are written."""
        return self.model_dump(exclude={"name", "label", "enabled"}, exclude_none=True)

    @property
    def title(self) -> str:
        """Its name, else what it asks for."""
        return self.name or ", ".join(
            f"{key} {_told(value)}" for key, value in self.conditions.items()
        )


def parse(plain: Sequence[Any]) -> list[Rule]:
    """Rules from plain values, as JSON or YAML gives them.

    Raises:
        InvalidInput: names the place, such as `rules[3].amount.min`, and what was expected.
    """
    if len(plain) > RULES_MAX:
        raise _invalid([FieldError("rules", f"at most {RULES_MAX:,} in one set")])
    rules, errors = [], []
    for index, item in enumerate(plain):
        try:
            rules.append(Rule.model_validate(item))
        except ValidationError as error:
            for found in error.errors(
                include_url=False, include_input=False, include_context=False
            ):
                place = "".join(f".{step}" for step in found["loc"])
                message = found["msg"].removeprefix("Value error, ")
                errors.append(FieldError(f"rules[{index}]{place}", message))
    if errors:
        raise _invalid(errors)
    return rules


def as_plain(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """What `parse` reads."""
    return [rule.model_dump(exclude_none=True, exclude_defaults=True) for rule in rules]


@dataclass
class _Block:
    """Rules that follow each other, either all with a regular expression for the merchant or none.

    A thousand searches take long, one for any of fifty expressions hardly longer than one.
    """

    guarded: bool
    rules: list[tuple[int, Rule, Finder, Finder]] = field(default_factory=list)
    expressions: list[str] = field(default_factory=list)

    @cached_property
    def may_fit(self) -> Finder:
        """Whether any rule of it may fit a name."""
        if not self.guarded:
            return _always
        try:
            search = re2.compile("|".join(f"(?:{it})" for it in self.expressions), options=_WIDE)
        except re2.error:  # too large together, or with the same name for two groups
            return _always
        return lambda text: search.search(text[1:-1]) is not None


@dataclass(frozen=True)
class RuleBook:
    """An ordered set of rules, ready to be asked; the first that fits is the one that counts.

    Attributes:
        whose: begins the reason: `your rule`, `shared rule`.
    """

    rules: tuple[Rule, ...]
    whose: str = "your rule"

    @cached_property
    def _blocks(self) -> list[_Block]:
        """The rules in their order, in blocks of which most can be left out at one look."""
        blocks: list[_Block] = []
        for place, rule in enumerate(self.rules):
            if not rule.enabled:
                continue
            expression = _expression(rule.merchant)
            last = blocks[-1] if blocks else None
            if last is None or len(last.rules) == BLOCK or last.guarded != bool(expression):
                last = _Block(guarded=bool(expression))
                blocks.append(last)
            last.rules.append((place, rule, _finder(rule.merchant), _finder(rule.description)))
            last.expressions += [expression] if expression else []
        return blocks

    def find(self, row: FeatureRow) -> int | None:
        """The place of the first rule that fits a transaction."""
        names = {f" {row.line} ", f" {row.merchant} "}  # as printed, and as people say it
        description = f" {row.norm_desc} "
        for block in self._blocks:
            if not any(map(block.may_fit, names)):
                continue
            for place, rule, in_name, in_description in block.rules:
                if any(map(in_name, names)) and in_description(description) and _fits(rule, row):
                    return place
        return None

    def match(self, row: FeatureRow) -> RuleMatch | None:
        """What the first rule that fits says, and why."""
        place = self.find(row)
        if place is None:
            return None
        rule = self.rules[place]
        return RuleMatch(rule.label, f'{self.whose} "{rule.title}"')


def _fits(rule: Rule, row: FeatureRow) -> bool:
    """Whether all holds that is no text."""
    if rule.channel is not None and rule.channel != row.channel:
        return False
    if rule.account is not None and rule.account != row.account:
        return False
    if rule.direction is not None and (
        row.amount is None or row.amount == 0 or (row.amount > 0) != (rule.direction == "in")
    ):
        return False
    wanted = rule.amount
    if wanted is None:
        return True
    if row.abs_amount is None:
        return False
    return (wanted.min is None or row.abs_amount >= wanted.min) and (
        wanted.max is None or row.abs_amount <= wanted.max
    )


def _finder(pattern: str | None) -> Finder:
    """Whether a folded text, between two spaces, has *pattern*; ValueError if it is none."""
    if pattern is None:
        return _always
    if expression := _expression(pattern):
        try:
            search = re2.compile(expression, options=_OPTIONS).search
        except re2.error as error:
            told = error.args[0] if error.args else error
            told = told.decode() if isinstance(told, bytes) else told
            raise ValueError(f"is no regular expression of RE2: {told}") from None
        return lambda text: search(text[1:-1]) is not None
    words = " ".join(spaced(pattern).split())
    if not words:
        raise ValueError("has no letter and no digit")
    wanted = f" {words} "
    return lambda text: wanted in text


def _expression(pattern: str | None) -> str | None:
    """The regular expression that a pattern is; None if it is words."""
    if pattern and len(pattern) > 2 and pattern.startswith("/") and pattern.endswith("/"):
        return pattern[1:-1]
    return None


def _always(_: str) -> bool:
    return True


def _told(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return " ".join(
        f"{word} {value[end]:g}" for end, word in (("min", "from"), ("max", "to")) if end in value
    )


def _invalid(errors: list[FieldError]) -> InvalidInput:
    return InvalidInput("The rules are not as expected; see errors", errors)
