"""The default categories, and what tells them: a person's own name for one, a merchant category
code, a word in the name of a place.

The vocabulary is in data/categories.toml, which says what each of its fields means. A kind is known
by its name, the key of a table in that file.
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

WEAK_KEYWORD = "~"  # marks a word in kinds.toml
_PHRASE_MAX = 4  # words of the longest phrase in kinds.toml
_CUT_FROM = 18  # characters of a line that a bank may have cut short
_CUT_MIN = 6  # letters that must be left of its last word
_CUT_MISSING = 2  # letters at most that went with the cut
_END_MIN = 4  # letters of the shortest end of a word that tells a kind
_LEVELS = re.compile(r"[:>/|\\»→]|\s[-–—]\s")  # `Food: Groceries`, from the wider to the narrower
_ASIDE = re.compile(r"\(.*?\)|\[.*?\]")  # `Groceries (weekly)`
_JOINED = re.compile(r"[&+,;]|\b(?:and|und|et|y|e|en|or|och|og|i)\b", re.IGNORECASE)
# Say nothing of the kind; dropped where something else remains.
_EMPTY = re.compile(
    r"\b(?:and|und|et|y|e|en|or|och|og|i|the|my|our|of|for|de|la|le|les|el|los|du|des|di|della"
    r"|expenses?|costs?|spending|bills?|payments?|other|misc|miscellaneous|various|general|monthly"
    r"|regular|category|total|all|ausgaben|kosten|sonstige|depenses|frais|gastos|spese|despesas"
    r"|uitgaven|utgifter)\b"
)


class KeywordMatch(NamedTuple):
    """A kind, and the words of a line that told it."""

    category: str
    words: str


class _Tables(NamedTuple):
    wider: dict[str, str]  # every kind, in the order of the file; '' where nothing is wider
    named: dict[str, str]
    mcc: dict[str, str]
    words: dict[str, str]
    faint: set[str]  # of the words, those that count only where no other does
    ends: dict[str, str]
    brands: dict[str, str]


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    text = files("shared.features").joinpath("data", "categories.toml").read_text(encoding="utf-8")
    tables = _Tables({}, {}, {}, {}, set(), {}, {})
    entries: dict[str, dict[str, str]] = tomllib.loads(text)
    for kind, entry in entries.items():
        tables.wider[kind] = entry.get("within", "")
        tables.named.update({_stemmed(name): kind for name in _phrases(entry["named"])})
        tables.mcc.update(dict.fromkeys(_codes(entry["mcc"]), kind))
        for phrase in _phrases(entry["words"]):
            tables.words[phrase.lstrip(WEAK_KEYWORD)] = kind
            if phrase.startswith(WEAK_KEYWORD):
                tables.faint.add(phrase.lstrip(WEAK_KEYWORD))
        tables.ends.update(dict.fromkeys(_phrases(entry["ends"]), kind))
        tables.brands.update(dict.fromkeys(_phrases(entry["brands"]), kind))
    # A kind's own name is first: no other kind's alias may take it.
    tables.named.update({_stemmed(" ".join(spaced(kind).split())): kind for kind in entries})
    return tables


def _phrases(text: str) -> list[str]:
    return [phrase for part in text.split(",") if (phrase := " ".join(part.split()))]


def _codes(text: str) -> Iterator[str]:
    for span in _phrases(text):
        first, _, last = span.partition("-")
        yield from (f"{code:04}" for code in range(int(first), int(last or first) + 1))


def categories() -> tuple[str, ...]:
    """The default categories, those of daily life first."""
    return tuple(_tables().wider)


def parent_category(kind: str) -> str | None:
    """The category that *kind* is a part of, for people who keep only that one.

    >>> wider_kind("Hotels"), wider_kind("Travel")
    ('Travel', None)
    """
    return _tables().wider.get(kind) or None


def bank_names() -> dict[str, str]:
    """Names of brands as banks print them, folded, and the kind of each."""
    return _tables().brands


def category_of_mcc(code: str) -> str | None:
    """The kind of a merchant category code of four digits; None for one that tells none.

    Source: the ranges of ISO 18245. Some codes are for both ends of daily life (5310, discount
    stores): they go where most of what is bought there belongs.

    >>> kind_of_mcc("5411"), kind_of_mcc("3015"), kind_of_mcc("9999")
    ('Groceries', 'Flights', None)
    """
    return _tables().mcc.get(code)


@cached(4_096)
def category_of_label(label: str) -> str | None:
    """The kind that a person means by the category *label*; None where that is not clear.

    Exact names and aliases only, whatever the case, accents, plural and order of levels. Of a path
    the narrowest level that is known counts; two kinds joined by `&` tell none.

    >>> kind_named("Gas & Fuel"), kind_named("Auto:Parking"), kind_named("Stuff")
    ('Fuel', 'Parking', None)
    """
    label = _ASIDE.sub(" ", label)
    if found := _alias(label):
        return found
    for level in reversed(_LEVELS.split(label)):
        if found := _alias(level):
            return found
        told = {kind for part in _JOINED.split(level) if (kind := _alias(part))}
        if told:
            return told.pop() if len(told) == 1 else None
    return None


def _alias(text: str) -> str | None:
    words = spaced(text).replace("&", " ").split()
    named = _tables().named
    if found := named.get(_stem(words)):
        return found
    return named.get(_stem(_EMPTY.sub(" ", " ".join(words)).split()))


def _stemmed(phrase: str) -> str:
    return _stem(phrase.replace("&", " ").split())


def _stem(words: list[str]) -> str:
    """One form for singular and plural, with and without `and`."""
    kept = [word for word in words if word != "and"] or words
    return " ".join(
        word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] != "s" else word
        for word in kept
    )


@cached(4_096)
def match_keyword(line: str) -> KeywordMatch | None:
    """What tells the kind of a place in its name, and which kind; None where nothing does.

    The longest phrase counts, and of several the last: a `pizza restaurant` is a restaurant.
    """
    tables = _tables()
    words = line.split()
    best: KeywordMatch | None = None
    best_weight = start = 0
    while start < len(words):
        for size in range(min(_PHRASE_MAX, len(words) - start), 0, -1):
            phrase = " ".join(words[start : start + size])
            kind = tables.words.get(phrase)
            if not kind and size == 1:
                kind = _match_ending(phrase)
                if not kind and start == len(words) - 1 and len(line) >= _CUT_FROM:
                    kind = _match_abbreviation(phrase)
            if kind:
                weight = 0 if phrase in tables.faint else size
                if weight >= best_weight:
                    best, best_weight = KeywordMatch(kind, phrase), weight
                start += size - 1
                break
        start += 1
    return best


def _match_ending(word: str) -> str | None:
    ends = _tables().ends
    for start in range(3, len(word) - _END_MIN + 1):
        if found := ends.get(word[start:]):
            return found
    return None


def _match_abbreviation(word: str) -> str | None:
    """The kind of the words that begin like *word*, the last of a line that the bank cut short."""
    if len(word) < _CUT_MIN:
        return None
    ordered = _ordered_words()
    kinds = set()
    for index in range(bisect_left(ordered, word), len(ordered)):
        whole = ordered[index]
        if not whole.startswith(word):
            break
        if len(whole) - len(word) <= _CUT_MISSING and whole != word + "s":
            kinds.add(_tables().words[whole])
    return kinds.pop() if len(kinds) == 1 else None


@lru_cache(maxsize=1)
def _ordered_words() -> list[str]:
    return sorted(word for word in _tables().words if " " not in word)
