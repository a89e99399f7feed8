"""The answer that explains a prediction."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.features.brands import Source
from shared.model import explain
from shared.model.explain import Candidate
from shared.registry.live_model import LoadedModel
from web.http.schemas import Answer, ModelName
from web.predictions import lookup


class CategoryReason(Answer):
    """The kind of shop, and the evidence for it: a code, name or words."""

    kind: str
    source: Source
    evidence: str


class Explanation(Answer):
    """`available` is false, and everything else is missing, while no model is deployed."""

    available: bool
    label: str | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    merchant: str | None = None
    kind: CategoryReason | None = None
    candidates: tuple[Candidate, ...] = ()
    model: ModelName | None = None


def explanation_response(explanation: explain.Explanation, served: LoadedModel) -> Explanation:
    """An explanation, with the version that made it."""
    match = explanation.match
    predicted = lookup.prediction_response(explanation.prediction, served)
    del predicted["alternatives"]  # the candidates say more
    return Explanation(
        **predicted,
        merchant=explanation.merchant,
        kind=match
        and CategoryReason(kind=match.category, source=match.source, evidence=match.evidence),
        candidates=explanation.candidates,
    )
