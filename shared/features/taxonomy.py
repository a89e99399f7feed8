"""The built-in categories: their aliases, merchant category codes and keywords.

They are in data/categories.toml, where each field is explained.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

from shared.text.cache import cached
from shared.text.normalize import spaced

WEAK_KEYWORD = "~"  # marks a word in categories.toml
_PHRASE_MAX = 4  # words of the longest phrase in categories.toml
_CUT_FROM = 18  # characters of a line that a bank may have cut short
_CUT_MIN = 6  # letters that must be left of its last word
_CUT_MISSING = 2  # letters at most that went with the cut
_END_MIN = 4  # letters of the shortest ending in categories.toml
_LEVELS = re.compile(r"[:>/|\\»→]|\s[-–—]\s")  # `Food: Groceries`, from the wider to the narrower
_ASIDE = re.compile(r"\(.*?\)|\[.*?\]")  # `Groceries (weekly)`
_JOINED = re.compile(r"[&+,;]|\b(?:and|und|et|y|e|en|or|och|og|i)\b", re.IGNORECASE)
# They do not narrow the category down; dropped where something else remains.
_FILLERS = re.compile(
    r"\b(?:and|und|et|y|e|en|or|och|og|i|the|my|our|of|for|de|la|le|les|el|los|du|des|di|della"
    r"|expenses?|costs?|spending|bills?|payments?|other|misc|miscellaneous|various|general|monthly"
    r"|regular|category|total|all|ausgaben|kosten|sonstige|depenses|frais|gastos|spese|despesas"
    r"|uitgaven|utgifter)\b"
)


class KeywordMatch(NamedTuple):
    """A category, and the words of a line that point to it."""

    category: str
    words: str


class _Tables(NamedTuple):
    parents: dict[str, str]  # of every category, in the order of the file; '' for none
    aliases: dict[str, str]
    mcc: dict[str, str]
    words: dict[str, str]
    weak: set[str]  # of the words, those that count only where no other does
    ends: dict[str, str]
    brands: dict[str, str]


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    text = files("shared.features").joinpath("data", "categories.toml").read_text(encoding="utf-8")
    tables = _Tables({}, {}, {}, {}, set(), {}, {})
    entries: dict[str, dict[str, str]] = tomllib.loads(text)
    for category, entry in entries.items():
        tables.parents[category] = entry.get("within", "")
        tables.aliases.update({_stemmed(name): category for name in _phrases(entry["named"])})
        tables.mcc.update(dict.fromkeys(_codes(entry["mcc"]), category))
        for phrase in _phrases(entry["words"]):
            tables.words[phrase.lstrip(WEAK_KEYWORD)] = category
            if phrase.startswith(WEAK_KEYWORD):
                tables.weak.add(phrase.lstrip(WEAK_KEYWORD))
        tables.ends.update(dict.fromkeys(_phrases(entry["ends"]), category))
        tables.brands.update(dict.fromkeys(_phrases(entry["brands"]), category))
    # A category's name is last, so that no alias of another category replaces it.
    tables.aliases.update({_stemmed(" ".join(spaced(name).split())): name for name in entries})
    return tables


def _phrases(text: str) -> list[str]:
    return [phrase for part in text.split(",") if (phrase := " ".join(part.split()))]


def _codes(text: str) -> Iterator[str]:
    for span in _phrases(text):
        first, _, last = span.partition("-")
        yield from (f"{code:04}" for code in range(int(first), int(last or first) + 1))


def categories() -> tuple[str, ...]:
    """The default categories, those of daily life first."""
    return tuple(_tables().parents)


def parent_category(category: str) -> str | None:
    """The category that *category* is a part of; None for a top one.

    >>> parent_category("Hotels"), parent_category("Travel")
    ('Travel', None)
    """
    return _tables().parents.get(category) or None


def bank_names() -> dict[str, str]:
    """Names of brands as banks print them, folded, and the category of each."""
    return _tables().brands


def category_of_mcc(code: str) -> str | None:
    """The category of a merchant category code of four digits; None for one without.

    Source: the ranges of ISO 18245. Some codes are for both ends of daily life (5310, discount
    stores): they go where most of what is bought there belongs.

    >>> category_of_mcc("5411"), category_of_mcc("3015"), category_of_mcc("9999")
    ('Groceries', 'Flights', None)
    """
    return _tables().mcc.get(code)


@cached(4_096)
def category_of_label(label: str) -> str | None:
    """The built-in category that a user's *label* stands for; None where that is not clear.

    Exact names and aliases only, whatever the case, accents, plural and order of levels. In
    a path the narrowest level with a match counts; two categories joined by `&` match none.

    >>> [category_of_label(label) for label in ("Gas & Fuel", "Auto:Parking", "Stuff")]
    ['Fuel', 'Parking', None]
    """
    label = _ASIDE.sub(" ", label)
    if category := _alias(label):
        return category
    for level in reversed(_LEVELS.split(label)):
        if category := _alias(level):
            return category
        several = {category for part in _JOINED.split(level) if (category := _alias(part))}
        if several:
            return several.pop() if len(several) == 1 else None
    return None


def _alias(text: str) -> str | None:
    words = spaced(text).replace("&", " ").split()
    aliases = _tables().aliases
    if category := aliases.get(_stem(words)):
        return category
    return aliases.get(_stem(_FILLERS.sub(" ", " ".join(words)).split()))


def _stemmed(phrase: str) -> str:
    return _stem(phrase.replace("&", " ").split())


def _stem(words: list[str]) -> str:
    """One form for singular and plural, with and without `and`."""
    words = [word for word in words if word != "and"] or words
    return " ".join(
        word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] != "s" else word
        for word in words
    )


@cached(4_096)
def match_keyword(line: str) -> KeywordMatch | None:
    """The category that the words of a name point to; None where none does.

    The longest phrase counts, and of several the last: a `pizza restaurant` is a restaurant.
    """
    tables = _tables()
    words = line.split()
    best: KeywordMatch | None = None
    best_weight = start = 0
    while start < len(words):
        for size in range(min(_PHRASE_MAX, len(words) - start), 0, -1):
            phrase = " ".join(words[start : start + size])
            category = tables.words.get(phrase)
            if not category and size == 1:
                category = _match_ending(phrase)
                if not category and start == len(words) - 1 and len(line) >= _CUT_FROM:
                    category = _match_abbreviation(phrase)
            if category:
                weight = 0 if phrase in tables.weak else size
                if weight >= best_weight:
                    best, best_weight = KeywordMatch(category, phrase), weight
                start += size - 1
                break
        start += 1
    return best


def _match_ending(word: str) -> str | None:
    ends = _tables().ends
    for start in range(3, len(word) - _END_MIN + 1):
        if category := ends.get(word[start:]):
            return category
    return None


def _match_abbreviation(word: str) -> str | None:
    """The category of the words that begin with *word*, the last of a line that was cut short."""
    if len(word) < _CUT_MIN:
        return None
    ordered = _ordered_words()
    matches = set()
    for index in range(bisect_left(ordered, word), len(ordered)):
        whole = ordered[index]
        if not whole.startswith(word):
            break
        if len(whole) - len(word) <= _CUT_MISSING and whole != word + "s":
            matches.add(_tables().words[whole])
    return matches.pop() if len(matches) == 1 else None


@lru_cache(maxsize=1)
def _ordered_words() -> list[str]:
    return sorted(word for word in _tables().words if " " not in word)
