"""Made-up transactions in any number and of any number of categories, to see how training grows.

They cost what real ones cost; what is learned from them says nothing of real ones.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.data import Cases
from shared.features.extract import RawTransaction

START = dt.date(2022, 1, 1)
DAYS = 3 * 365
ROWS_A_MERCHANT = 15
MERCHANT_POWER = 1.05  # Zipf: the r-th merchant has about r ** -MERCHANT_POWER of the rows
CATEGORY_WORDS = 8
COMMON_WORDS = 400
TELLING_NAMES = 0.5  # of the merchants have a word of their category in their name
MISLABELLED = 0.03
_SYLLABLES = tuple(a + b for a in "bdfgklmnprstvz" for b in "aeiou")

Numbers = NDArray[np.int64]
Words = NDArray[np.str_]


def generate(rows: int, categories: int, seed: int = 0) -> Cases:
    """*rows* cases of *categories* labels; the same numbers give the same cases."""
    rng = np.random.default_rng([seed, rows, categories])
    merchants = max(rows // ROWS_A_MERCHANT, categories)
    # Every category has a merchant; the others come as they may, some categories more often.
    category_of = np.concatenate(
        [np.arange(categories), _zipf(rng, categories, merchants - categories)]
    )
    rng.shuffle(category_of)
    own_words = _words(rng, categories * CATEGORY_WORDS).reshape(categories, CATEGORY_WORDS)
    common = _words(rng, COMMON_WORDS)
    names = _names(rng, category_of, own_words)
    sizes = rng.normal(3.5, 1.0, size=categories)  # log of the usual amount

    merchant = _zipf(rng, merchants, rows)
    category = category_of[merchant]
    label = np.where(
        rng.random(rows) < MISLABELLED, rng.integers(categories, size=rows), category
    ).tolist()
    amount = np.exp(rng.normal(sizes[category], 0.7)).round(2)
    amount[rng.random(rows) > 0.03] *= -1
    store = np.where(rng.random(rows) < 0.3, rng.integers(1, 3000, size=rows), 0).tolist()
    word_counts = rng.integers(4, size=rows).tolist()  # words in the description, often none
    words = own_words[category[:, None], rng.integers(CATEGORY_WORDS, size=(rows, 2))]
    filler = common[rng.integers(COMMON_WORDS, size=rows)]
    days = [
        START + dt.timedelta(days=day) for day in np.sort(rng.integers(DAYS, size=rows)).tolist()
    ]

    txns = [
        RawTransaction(
            merchant=f"{names[who]} #{shop}" if shop else names[who],
            description=" ".join((*of_category, other)[:count]),
            amount=spent,
            currency="EUR",
            date=day,
        )
        for who, shop, of_category, other, count, spent, day in zip(
            merchant.tolist(),
            store,
            words.tolist(),
            filler.tolist(),
            word_counts,
            amount.tolist(),
            days,
            strict=True,
        )
    ]
    names_of_labels = [f"Category {number:04}" for number in range(categories)]
    return Cases(txns, [names_of_labels[number] for number in label], days)


def _zipf(rng: np.random.Generator, kinds: int, size: int) -> Numbers:
    """*size* numbers below *kinds*, the small ones far more often."""
    share = np.arange(1, kinds + 1) ** -MERCHANT_POWER
    return rng.choice(kinds, size=size, p=share / share.sum())


def _words(rng: np.random.Generator, count: int) -> Words:
    """*count* words of three or four syllables, nearly all different."""
    syllables = np.array(_SYLLABLES)
    drawn = syllables[rng.integers(syllables.size, size=(count, 4))].tolist()
    lengths = rng.integers(3, 5, size=count).tolist()
    return np.array(["".join(word[:size]) for word, size in zip(drawn, lengths, strict=True)])


def _names(
    rng: np.random.Generator,
    category_of: Numbers,
    own_words: Words,
) -> list[str]:
    """A name for each merchant: a word of its own and, of some, one of its category."""
    count = category_of.size
    first = _words(rng, count).tolist()
    kind = own_words[category_of, rng.integers(CATEGORY_WORDS, size=count)].tolist()
    tells = (rng.random(count) < TELLING_NAMES).tolist()
    return [
        f"{name} {word}".upper() if told else name.upper()
        for name, word, told in zip(first, kind, tells, strict=True)
    ]
