"""Spellings of labels: `groceries` and `Groceries ` are one label, and users read their own.

The model holds the spellings that differ from the usual one, found by a user's key alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shared.model.label_history import KeyArray, pair_keys

OWN = "(a name of one user)"  # stands for a closed label in reports and profiles


def fold_label(label: str) -> str:
    """The form by which labels are equal: without case, and with single spaces between words."""
    return " ".join(label.split()).casefold()


@dataclass(frozen=True, slots=True)
class Spellings:
    """The spellings of users, in parallel arrays, sorted by key.

    Attributes:
        names: the spellings.
        keys: of a user and a label, see `spelling_keys`; shape (s,).
        which: the name that each key has, shape (s,).
    """

    names: Sequence[str] = ()
    keys: KeyArray = field(default_factory=lambda: np.zeros(0, np.uint64))
    which: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    @property
    def size(self) -> int:
        return self.keys.size

    def spelled(self, label: int, user: int) -> str | None:
        """How the user with this key spells a label; None where it is as most do."""
        key = spelling_keys(np.array([user], np.uint64), np.array([label]))[0]
        at = int(self.keys.searchsorted(key))
        return self.names[self.which[at]] if at < self.size and self.keys[at] == key else None

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """All arrays that a file must hold."""
        return {"spelling_keys": self.keys, "spelling_which": self.which}

    @classmethod
    def from_arrays(cls, names: Sequence[str], arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """The spellings whose `arrays` these are."""
        return cls(tuple(names), arrays["spelling_keys"], arrays["spelling_which"])  # type: ignore[arg-type]


def spelling_keys(users: KeyArray, labels: NDArray[np.integer]) -> KeyArray:
    """The keys of users' spellings of labels, both of shape (n,)."""
    return pair_keys(pair_keys(users, labels + 1), np.ones_like(labels))
