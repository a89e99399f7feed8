"""Accuracy and macro-F1, as the report and the gate mean them."""

from __future__ import annotations

from collections.abc import Sequence

from sklearn.metrics import f1_score

Labels = Sequence[str]
Figures = dict[str, float | None]


def figures(truth: Labels, guesses: Labels) -> Figures:
    """`accuracy` and `f1_macro`, each 0..1; None where *truth* is empty."""
    return {"accuracy": accuracy(truth, guesses), "f1_macro": macro_f1(truth, guesses)}


def accuracy(truth: Labels, guesses: Labels) -> float | None:
    """The share of *guesses* that are right."""
    if not truth:
        return None
    right = sum(guess == label for guess, label in zip(guesses, truth, strict=True))
    return right / len(truth)


def macro_f1(truth: Labels, guesses: Labels) -> float | None:
    """The mean F1 of the classes that *truth* has, each counting alike."""
    if not truth:
        return None
    names = sorted(set(truth))
    return float(f1_score(truth, guesses, labels=names, average="macro", zero_division=0))
