"""The schema of a rule: its conditions and its label, checked with pydantic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from shared.db.tables import LABEL_MAX
from shared.errors import FieldError, InvalidInput
from shared.features.extract import CHANNELS
from shared.rules.patterns import compile_pattern

RULES_MAX = 1_000  # in one set
PATTERN_MAX = 400  # characters

_PRINTED = r"^[^\x00-\x1f\x7f]+$"
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=PATTERN_MAX, pattern=_PRINTED)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PRINTED)]
_LABEL = r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$"


class AmountRange(BaseModel):
    """A range of the amount without its sign; both ends are included."""

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
    """A label and its conditions, at least one; a transaction must meet all of them."""

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
            compile_pattern(pattern)
        return pattern

    @field_validator("channel")
    @classmethod
    def _check_channel(cls, channel: str | None) -> str | None:
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
        """The conditions that are set, as plain values."""
        return self.model_dump(exclude={"name", "label", "enabled"}, exclude_none=True)

    @property
    def title(self) -> str:
        """The name, else the conditions in words."""
        return self.name or ", ".join(
            f"{key} {_describe(value)}" for key, value in self.conditions.items()
        )


def parse(plain: Sequence[Any]) -> list[Rule]:
    """Parse rules from plain values, as read from JSON or YAML.

    Raises:
        InvalidInput: names the field, such as `rules[3].amount.min`, and what was expected.
    """
    if len(plain) > RULES_MAX:
        raise _invalid([FieldError("rules", f"at most {RULES_MAX:,} in one set")])
    rules, errors = [], []
    for index, item in enumerate(plain):
        try:
            rules.append(Rule.model_validate(item))
        except ValidationError as error:
            for detail in error.errors(
                include_url=False, include_input=False, include_context=False
            ):
                path = "".join(f".{step}" for step in detail["loc"])
                message = detail["msg"].removeprefix("Value error, ")
                errors.append(FieldError(f"rules[{index}]{path}", message))
    if errors:
        raise _invalid(errors)
    return rules


def to_json(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Convert rules to plain values, which `parse` reads."""
    return [rule.model_dump(exclude_none=True, exclude_defaults=True) for rule in rules]


def _describe(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return " ".join(
        f"{word} {value[end]:g}" for end, word in (("min", "from"), ("max", "to")) if end in value
    )


def _invalid(errors: list[FieldError]) -> InvalidInput:
    return InvalidInput("The rules are not as expected; see errors", errors)
