"""What the words of a bank line say beyond the shop: channel, recurring, person to person."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from shared.text.channel_vocabulary import CHANNEL_NAMES, CHANNEL_PHRASES, RECURRING
from shared.text.normalize import spaced

CHANNELS = (*CHANNEL_PHRASES, "pos", "other", "unknown")


class Hints(NamedTuple):
    """What a text tells; channel '' when it tells none."""

    channel: str
    is_subscription: bool
    is_p2p: bool


NO_HINTS = Hints("", is_subscription=False, is_p2p=False)

_LAST = len(CHANNELS)
_Phrase = tuple[str, int, bool]  # ' words ', rank of the channel it tells (or _LAST), recurring?


def _by_first_word() -> dict[str, list[_Phrase]]:
    """All phrases under their first word, so that most words of a line cost one look."""
    told = [(phrase, rank) for rank, name in enumerate(CHANNELS) for phrase in _of(name)]
    ranks = dict(reversed(told))  # a phrase of two channels tells the weightier one
    index: dict[str, list[_Phrase]] = defaultdict(list)
    for phrase in sorted({*ranks, *RECURRING}):
        entry = (f" {phrase} ", ranks.get(phrase, _LAST), phrase in RECURRING)
        index[phrase.split()[0]].append(entry)
    return dict(index)


def _of(channel: str) -> frozenset[str]:
    return CHANNEL_PHRASES.get(channel, frozenset())


_PHRASES = _by_first_word()
_FIRST_WORDS = frozenset(_PHRASES)
_NAMED = {alias: name for name, aliases in CHANNEL_NAMES.items() for alias in aliases}


def find_channel(given: str) -> str:
    """The channel of CHANNELS that a caller means by *given*; '' for blank, 'other' if unheard."""
    words = " ".join(spaced(given).split())
    return _NAMED.get(words, "other") if words else ""


def detect_hints(line: str) -> Hints:
    """Read the hints in *line*, which is as `clean_description` gives it: folded, one space."""
    found = _FIRST_WORDS.intersection(line.split())
    if not found:
        return NO_HINTS
    padded = f" {line} "
    rank, recurring = _LAST, False
    for word in found:
        for phrase, told, recurs in _PHRASES[word]:
            if phrase in padded:
                rank = min(rank, told)
                recurring = recurring or recurs
    channel = CHANNELS[rank] if rank < _LAST else ""
    return Hints(channel, is_subscription=recurring, is_p2p=channel == "p2p")
