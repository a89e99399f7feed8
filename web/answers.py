"""The answer that explains a prediction: how it is made, and what OpenAPI says of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field

from shared import explain
from shared.brands import Source
from shared.runtime import Served
from web import lookup
from web.schemas import Answer, ModelName


class FeatureMove(Answer):
    """`value` is null where it is unknown; `contribution` is in log-odds."""

    name: str
    value: float | None
    contribution: float


class WordMove(Answer):
    """A word, or two that follow each other, and what it added to the linear score."""

    text: str
    contribution: float


class Candidate(Answer):
    """`log_odds` is `bias` + `features` + `rest`; `linear` is `words` + `other`.

    Without a forest (tiny training sets), `log_odds` is null.
    """

    label: str
    share: Annotated[float, Field(ge=0, le=1)]
    log_odds: float | None
    linear: float
    bias: float
    features: list[FeatureMove]
    rest: float
    words: list[WordMove]
    other: float


class Kind(Answer):
    """The kind of shop, what told it, and the code, name or words that did."""

    kind: str
    source: Source
    evidence: str


class Explanation(Answer):
    """`available` is false, and everything else is missing, while no model is deployed."""

    available: bool
    label: str | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    merchant: str | None = None
    kind: Kind | None = None
    candidates: list[Candidate] = Field(default_factory=list)
    model: ModelName | None = None


def explained(explanation: explain.Explanation, served: Served) -> dict[str, Any]:
    """An explanation and the version that it is of."""
    predicted = lookup.as_json(explanation.prediction, served)
    del predicted["alternatives"]  # the candidates say more
    return {
        **predicted,
        "merchant": explanation.merchant,
        "kind": explanation.guess._asdict() if explanation.guess else None,
        "candidates": [
            {
                **asdict(candidate),
                "features": [move._asdict() for move in candidate.features],
                "words": [move._asdict() for move in candidate.words],
            }
            for candidate in explanation.candidates
        ],
    }
