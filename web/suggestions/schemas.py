"""Requests and answers about suggestions and feedback."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from shared.db.tables import Action, Arm
from web.http.schemas import ITEMS_MAX, Answer, Body, Id, Identity, ItemProblem, Label, Scored


class SuggestStored(Body):
    """Stored transactions, up to 1,000."""

    txn_ids: Annotated[list[Id], Field(min_length=1, max_length=ITEMS_MAX)]
    user_id: Identity | None = Field(
        None, description="whose they are; those of others are not found"
    )


class SuggestRaw(Body):
    """Up to 1,000 transactions by their raw fields, as in predict."""

    transactions: Annotated[list[Any], Field(min_length=1, max_length=ITEMS_MAX)]
    user_id: Identity | None = Field(None, description="whose they are, where they do not say")


def _form(value: Any) -> str:
    return "stored" if isinstance(value, dict) and "txn_ids" in value else "raw"


SuggestRequest = Annotated[
    Annotated[SuggestStored, Tag("stored")] | Annotated[SuggestRaw, Tag("raw")],
    Discriminator(_form),
]


class SuggestedItem(Answer):
    """A suggestion, or the error of the item."""

    suggestion_id: str | None = Field(default=None, description="null: it was not stored")
    txn_id: int | None = None
    label: str | None = Field(default=None, description="null: ask")
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    source: Literal["rule", "memory", "model", "none"] | None = None
    layer: str | None = None
    alternatives: list[Scored] = Field(default_factory=list)
    reasons: list[str] = Field(default_factory=list)
    arm: Arm | None = None
    model_version: str | None = None
    error: ItemProblem | None = None


class SuggestAnswer(Answer):
    """`degraded`: without PostgreSQL, only the model and the starter rules were used."""

    items: list[SuggestedItem]
    degraded: bool


class LayerAnswer(Answer):
    """The candidate of one layer. The first whose `confidence` reaches `needed` is shown, unless
    the user has rejected that category for the merchant."""

    layer: str
    label: str
    confidence: Annotated[float, Field(ge=0, le=1)]
    needed: Annotated[float, Field(ge=0, le=1)]
    reason: str
    rejected: bool
    heard: bool = Field(description="false: the user is in the arm of the rules")


class ExplainedSuggestion(Answer):
    """The suggestion, the features, and the candidates of all layers in their order."""

    features: dict[str, Any]
    label: str | None = Field(description="null: ask")
    confidence: Annotated[float, Field(ge=0, le=1)]
    layer: str
    alternatives: list[Scored]
    reasons: list[str]
    arm: Arm
    layers: list[LayerAnswer]
    degraded: bool


class HistoryRequest(Body):
    """Whose transactions."""

    user_id: Identity | None = Field(None, description="missing: of everybody")


class FeedbackRequest(Body):
    """A user's answer to a suggestion."""

    action: Literal["accept", "correct", "reject", "undo"]
    label: Label | None = Field(None, description="what it is instead; for correct only")


class FeedbackAnswer(Answer):
    """The state of a suggestion; `label` is that of the transaction."""

    suggestion_id: str
    answer: Action | None
    answer_label: str | None
    label: str | None
