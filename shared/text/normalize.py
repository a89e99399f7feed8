"""Normalisation of merchant names and descriptions, so that one shop has one name.

`clean_merchant` gives the shop: `SQ *BLUE BOTTLE #12 OAKLAND CA` becomes `blue bottle`.
`clean_description` only drops what differs each time: dates, times, card and reference numbers.
Both take any text of any script, never raise, and give what they gave when applied again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from shared.text.normalize_vocabulary import (
    ALIASES,
    AMBIGUOUS_REGIONS,
    BANK_PREFIX,
    CITIES,
    CONNECTORS,
    LEGAL_FORMS,
    MONTHS,
    PROCESSOR_PREFIX,
    REFERENCE_WORDS,
    REGIONS,
    STORE_WORDS,
    TOP_LEVEL_DOMAINS,
)

TEXT_MAX = 400  # characters that are read, and returned at most

_PLAIN_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i", "ð": "d", "þ": "th"}
)
_GAP = "¦"  # stands where a store or reference number was; never in what comes in or goes out
_NAME_CHARACTERS = "&" + _GAP
_LATIN_MARKS = re.compile("[\u0300-\u036f]+")  # of Latin, Greek and Cyrillic; no other script's


class _Table(dict[int, str]):
    """A table for str.translate that calls *decide* once for each character."""

    def __init__(self, decide: Callable[[str], str]) -> None:
        super().__init__()
        self._decide = decide
        self.update({code: decide(chr(code)) for code in range(128)})

    def __missing__(self, code: int) -> str:
        self[code] = self._decide(chr(code))
        return self[code]


def _printable(char: str) -> str:
    """Make blanks and controls a space; drop what is invisible or no character at all."""
    kind = unicodedata.category(char)
    if kind == "Cc" or kind[0] == "Z" or char == _GAP:
        return " "
    if kind == "Nd":
        return str(unicodedata.decimal(char))
    return "" if kind[0] == "C" else char


def _word_part(char: str) -> str:
    """Keep letters, their marks, digits and &; drop apostrophes; make the rest a space."""
    if char in "'`´’‘ʼ":
        return ""
    return char if char in _NAME_CHARACTERS or unicodedata.category(char)[0] in "LMN" else " "


_PRINTABLE = _Table(_printable)
_WORD_PARTS = _Table(_word_part)


def printable(text: str) -> str:
    """*text* without the characters that PostgreSQL cannot hold or nobody can see."""
    return text.translate(_PRINTABLE).strip()


def fold(text: str) -> str:
    """Lower case without accents, in NFC; controls are spaces; at most TEXT_MAX characters.

    Marks of scripts where they carry the vowel or the meaning stay.
    """
    text = text[:TEXT_MAX].translate(_PRINTABLE)
    if text.isascii():
        return text.lower()
    while True:
        plain = unicodedata.normalize("NFKD", text.casefold()).casefold()
        plain = _LATIN_MARKS.sub("", plain).translate(_PLAIN_LETTERS).translate(_PRINTABLE)
        plain = unicodedata.normalize("NFC", plain)[:TEXT_MAX]
        if plain == text:
            return plain
        text = plain


def spaced(text: str) -> str:
    """*text* folded, with a space for every run of punctuation."""
    return fold(text).translate(_WORD_PARTS)


_DIGIT = re.compile(r"\d")
# What differs each time. 24/7 is a name, 1/2 a size.
_CHANGING = re.compile(
    rf"""
    (?<!\w) (?:
        \d{{4,6}}[x*•]{{4,}}\d{{0,4}} | [x*•.]{{2,}}[\s-]?\d{{3,}}              # masked card
      | \d{{4}}([-/.])\d{{1,2}}\1\d{{1,2}} (?:t?[\s]?\d\d:\d\d\S*)?           # 2024-03-31
      | \d{{1,2}}([-/.])\d{{1,2}}\2\d{{2,4}} | \d\d/\d\d                          # 31.03.24
      | \d{{1,2}}[\s./-]?(?:{MONTHS})\.?(?:[\s./-]?(?:\d{{4}}|\d\d))?
      | (?:{MONTHS})\.?\s\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s\d{{4}})?
      | \d{{1,2}}[:h]\d{{2}}(?::\d{{2}})?(?:\s?[ap]m)?                          # time
      | \+?(?:\d{{1,3}}[\s.-])?\(?\d{{3}}\)?[\s.-]\d{{3}}[\s.-]?\d{{4}}         # phone
      | \+\d[\d\s.()-]{{7,}}\d
      | (?:card|karte|carte|tarjeta|carta)\s(?:ending\s(?:in\s)?|n[or]\.?\s?)?\d{{4}}
      | \d{{1,3}}\sof\s\d{{1,3}}                                            # 01 of 02
    ) (?!\w)
    """,
    re.VERBOSE,
)
_REFERENCE = re.compile(
    rf"\b({'|'.join(REFERENCE_WORDS.split())})\b(?:[\s.:#/+-]|\b(?:no|nr|id|num)\b)*"
    r"(?=[\w-]*\d)[\w-]{3,}"
)
_STORE = re.compile(r"#\s*[a-z]?[-\s]?\w*\d[\w-]*\*?")
_LONG_TAIL = re.compile(r"([^\W\d_]{3,})\d{4,}\w*")  # shoppersdrugmart0901
_CODE = re.compile(
    r"(?=\w{6})(?:[^\W\d_]+\d+[^\W\d_]+\d\w*|\d+[^\W\d_]+\d\w*|[^\W\d_]{1,2}\d{4,}\w*"
    r"|\d{4,}[^\W\d_]+\w*)|\d{5,}"
)
_STORE_CODE = re.compile(r"(?!36[05]$)\d{3,}|0\d*|[^\W\d_]{1,2}\d\d+|[^\W\d_]{3}\d{3,}")
_PREFIX = re.compile(
    rf"\s*(?:(?:{BANK_PREFIX})(?:[\s:*/,.-]+|$)|(?:{PROCESSOR_PREFIX}))", re.VERBOSE
)
_WEB = re.compile(r"\bhttps?://|\bwww\d?\.|\bhelp\.(?=\w)")
_DOMAIN = re.compile(
    rf"(?<=\w)\.(?:{TOP_LEVEL_DOMAINS}|c$)(?!\w)(?:\.[a-z]{{2,3}}\b)?\.?(?:/(bill\b)?\S*)?"
)
_INITIALS = re.compile(r"\b([a-z])\.(?=[a-z]\b)")
_ALIAS = [(re.compile(pattern), name) for pattern, name in ALIASES]
_ALIAS_START = re.compile("[" + "".join({pattern.lstrip("(?:")[0] for pattern, _ in ALIASES}) + "]")
_LONGEST_CITY = max(city.count(" ") + 1 for city in CITIES)


def clean_description(text: str) -> str:
    """The description without the dates and numbers that differ each time."""
    text = fold(text)
    if not _DIGIT.search(text):  # most texts: nothing in them changes
        return " ".join(text.translate(_WORD_PARTS).split())
    return _until_stable(text, _without_changing)


def clean_merchant(text: str) -> str:
    """The name of the shop behind a printed line; '' only where no letter or digit is printed."""
    return _until_stable(fold(text), _shop)


def _until_stable(text: str, clean: Callable[[str], str]) -> str:
    """Clean until nothing changes; where nothing would be left, keep the words that were there."""
    while True:
        cleaned = clean(text) or " ".join(text.translate(_WORD_PARTS).split())
        if cleaned == text:
            return cleaned[:TEXT_MAX].strip()
        text = cleaned


def _without_changing(text: str) -> str:
    text = _REFERENCE.sub(r"\1 ", _CHANGING.sub(" ", text))
    words = text.translate(_WORD_PARTS).split()
    return " ".join([word for word in map(_without_code, words) if word])


def _without_code(word: str) -> str:
    """*word* without a long number at its end; '' for a reference code."""
    if len(word) < 5 or not _DIGIT.search(word):
        return word
    return "" if _CODE.fullmatch(word) else _LONG_TAIL.sub(r"\1", word)


def _shop(text: str) -> str:
    text = _after_prefixes(text)
    if _ALIAS_START.match(text):
        for pattern, name in _ALIAS:
            if match := pattern.match(text):
                text = name + text[match.end() :]
                break
    if "." in text:
        text = _INITIALS.sub(r"\1", _DOMAIN.sub(r" \1", _WEB.sub(" ", text)))
    if _DIGIT.search(text):
        text = _REFERENCE.sub(f" {_GAP} ", _STORE.sub(f" {_GAP} ", _CHANGING.sub(" ", text)))
    words = _without_numbers(text.translate(_WORD_PARTS).split())
    return " ".join(_without_tail(words))


def _after_prefixes(text: str) -> str:
    """*text* after what bank and card processor printed first, unless that is all there is."""
    while match := _PREFIX.match(text):
        rest = text[match.end() :]
        if not any(char.isalpha() for char in rest):
            break
        text = rest
    return text.strip()


def _without_numbers(words: list[str]) -> list[str]:
    """Put a gap for each store number and code; numbers that may belong to the name stay."""
    result: list[str] = []
    for word in words:
        result += [word] if word.isalpha() or word == _GAP else _number(word, result)
    return result


def _number(word: str, before: list[str]) -> list[str]:
    """What stays of a word with digits or & in it, by the words before it."""
    if before:
        if _CODE.fullmatch(word) or _STORE_CODE.fullmatch(word):
            return [_GAP]
        if word.isdigit() and (before[-1] in STORE_WORDS or before[-1] == _GAP):
            return [_GAP]
    elif word.isdigit() and len(word) > 3 and word != "1800":
        return []
    if match := _LONG_TAIL.fullmatch(word):
        return [match[1], _GAP]
    return [word] if word.strip("&") else []


def _without_tail(words: list[str]) -> list[str]:
    """Drop place, legal form and numbers from the end, as far as a name remains."""
    while words and words[0] == _GAP:
        del words[0]
    has_number = _GAP in words
    words = _without_town(_without_store_number(words))
    before_region = _without_region(words)
    has_place = has_number or len(before_region) < len(words)
    words = _without_city(before_region, has_place=has_place)
    words = _without_legal_forms(_without_store_number(words))
    words = [word for word in words if word != _GAP]
    return words[1:] if len(words) > 2 and words[0] == "the" else words


def _without_store_number(words: list[str]) -> list[str]:
    """Drop gaps from the end, and what led to the number: `store 12`, `shop no. 3`."""
    while len(words) > 1 and words[-1] == _GAP:
        words = words[:-1]
        while len(words) > 1 and (words[-1] in STORE_WORDS or words[-1] in CONNECTORS):
            words = words[:-1]
    return words


def _without_town(words: list[str]) -> list[str]:
    """`tim hortons #1234 any town on`: between a store number and a region stands a town."""
    if _GAP in words and (words[-1] in REGIONS or words[-1] in AMBIGUOUS_REGIONS):
        number = words.index(_GAP, 1)
        if 1 <= len(words) - number - 2 <= 3:
            return words[: number + 1]
    return words


def _without_region(words: list[str]) -> list[str]:
    """Drop a region, but one whose name is also a word only behind a number or a city."""
    *before, last = words or [""]
    if before and last in REGIONS and len(before[-1]) > 2:
        return before
    if len(before) > 1 and last in AMBIGUOUS_REGIONS:
        return before if before[-1] == _GAP or _city_length(before) else words
    return words


def _without_city(words: list[str], *, has_place: bool) -> list[str]:
    """Drop a city, unless it may be the name itself.

    Args:
        has_place: a number or a region showed that the line ends with a place.
    """
    if not (length := _city_length(words)):
        return words
    name = [word for word in words[:-length] if word != _GAP]
    if not name or name[-1] in CONNECTORS:
        return words
    return words[:-length] if has_place or len(name) > 1 or len(name[0]) > 4 else words


def _without_legal_forms(words: list[str]) -> list[str]:
    while len(words) > 1 and words[-1] in LEGAL_FORMS:
        words = _without_store_number(words[:-1])
    return words


def _city_length(words: list[str]) -> int:
    """How many words at the end name a city; 0 if none, or if nothing stands before it."""
    for length in range(min(_LONGEST_CITY, len(words) - 1), 0, -1):
        if " ".join(words[-length:]) in CITIES:
            return length
    return 0
