"""The rule matcher: the first rule of an ordered set that fits a transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import re2  # type: ignore[import-untyped]  # has no types

from shared.features.extract import FeatureRow
from shared.rules.patterns import Finder, compile_pattern, expression_of, match_any
from shared.rules.schema import Rule

BLOCK = 50  # rules that share one search for whether any of them may fit
_WIDE = re2.Options()
_WIDE.case_sensitive = False
_WIDE.max_mem = 16 << 20
_WIDE.log_errors = False


class RuleMatch(NamedTuple):
    """A rule that fits a transaction."""

    label: str
    reason: str  # names the rule and what of the transaction it matched


@dataclass
class _Block:
    """Consecutive rules, either all with a regular expression for the merchant or none.

    One search for any of fifty expressions takes hardly longer than a search for one of them.
    """

    guarded: bool
    rules: list[tuple[int, Rule, Finder, Finder]] = field(default_factory=list)
    expressions: list[str] = field(default_factory=list)

    @cached_property
    def may_fit(self) -> Finder:
        """A test of a name: whether any rule of the block may fit it."""
        if not self.guarded:
            return match_any
        try:
            search = re2.compile("|".join(f"(?:{one})" for one in self.expressions), options=_WIDE)
        except re2.error:  # too large together, or with the same name for two groups
            return match_any
        return lambda text: search.search(text[1:-1]) is not None


@dataclass(frozen=True)
class RuleMatcher:
    """An ordered set of compiled rules; the first that fits a transaction decides.

    Attributes:
        owner: begins the reason: `your rule`, `shared rule`.
    """

    rules: tuple[Rule, ...]
    owner: str = "your rule"

    @cached_property
    def _blocks(self) -> list[_Block]:
        """The rules in their order, in blocks: one search rules out most of the blocks."""
        blocks: list[_Block] = []
        for index, rule in enumerate(self.rules):
            if not rule.enabled:
                continue
            expression = expression_of(rule.merchant)
            last = blocks[-1] if blocks else None
            if last is None or len(last.rules) == BLOCK or last.guarded != bool(expression):
                last = _Block(guarded=bool(expression))
                blocks.append(last)
            last.rules.append(
                (index, rule, compile_pattern(rule.merchant), compile_pattern(rule.description))
            )
            last.expressions += [expression] if expression else []
        return blocks

    def find(self, row: FeatureRow) -> int | None:
        """Return the index of the first rule that fits a transaction."""
        names = {f" {row.line} ", f" {row.merchant} "}  # as printed, and as people say it
        description = f" {row.norm_desc} "
        for block in self._blocks:
            if not any(map(block.may_fit, names)):
                continue
            for index, rule, in_name, in_description in block.rules:
                if any(map(in_name, names)) and in_description(description) and _fits(rule, row):
                    return index
        return None

    def match(self, row: FeatureRow) -> RuleMatch | None:
        """Return the label of the first rule that fits, and the reason."""
        index = self.find(row)
        if index is None:
            return None
        rule = self.rules[index]
        return RuleMatch(rule.label, f'{self.owner} "{rule.title}"')


def _fits(rule: Rule, row: FeatureRow) -> bool:
    """Whether all conditions other than patterns hold."""
    if rule.channel not in (None, row.channel) or rule.account not in (None, row.account):
        return False
    if rule.direction and not (row.amount and (row.amount > 0) == (rule.direction == "in")):
        return False
    if rule.amount is None:
        return True
    low, high, amount = rule.amount.min, rule.amount.max, row.abs_amount
    if amount is None:
        return False
    return (low is None or amount >= low) and (high is None or amount <= high)
