"""Payment-channel keywords in a bank line: channel, recurring, person to person."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from shared.text.cache import cached
from shared.text.channel_vocabulary import CHANNEL_NAMES, CHANNEL_PHRASES, RECURRING
from shared.text.normalize import spaced

CHANNELS = (*CHANNEL_PHRASES, "pos", "other", "unknown")


class Hints(NamedTuple):
    """The hints in a text; channel is '' where there is none."""

    channel: str
    is_subscription: bool
    is_p2p: bool


NO_HINTS = Hints("", is_subscription=False, is_p2p=False)

_LAST = len(CHANNELS)
_Phrase = tuple[str, int, bool]  # ' words ', rank of its channel (or _LAST), recurring?


def _by_first_word() -> dict[str, list[_Phrase]]:
    """All phrases by their first word, so that most words of a line cost one look-up."""
    ranked = [
        (phrase, rank)
        for rank, phrases in enumerate(CHANNEL_PHRASES.values())
        for phrase in phrases
    ]
    ranks = dict(reversed(ranked))  # a phrase of two channels counts for the first
    index: dict[str, list[_Phrase]] = defaultdict(list)
    for phrase in sorted({*ranks, *RECURRING}):
        entry = (f" {phrase} ", ranks.get(phrase, _LAST), phrase in RECURRING)
        index[phrase.split()[0]].append(entry)
    return dict(index)


_PHRASES = _by_first_word()
_FIRST_WORDS = frozenset(_PHRASES)
_NAMED = {alias: name for name, aliases in CHANNEL_NAMES.items() for alias in aliases}


@cached(1_024)
def find_channel(name: str) -> str:
    """The one of CHANNELS that *name* stands for; '' for a blank, 'other' for an unknown name."""
    words = " ".join(spaced(name).split())
    return _NAMED.get(words, "other") if words else ""


def detect_hints(line: str) -> Hints:
    """Read the hints in *line*, which `clean_description` has cleaned."""
    first_words = _FIRST_WORDS.intersection(line.split())
    if not first_words:
        return NO_HINTS
    padded = f" {line} "
    rank, recurring = _LAST, False
    for word in first_words:
        for phrase, phrase_rank, recurs in _PHRASES[word]:
            if phrase in padded:
                rank = min(rank, phrase_rank)
                recurring = recurring or recurs
    channel = CHANNELS[rank] if rank < _LAST else ""
    return Hints(channel, is_subscription=recurring, is_p2p=channel == "p2p")
