"""Suggestions from all layers, and the words that give the model's reason."""

from __future__ import annotations

from shared.features.extract import RawTransaction, features_of
from shared.services import Services
from shared.suggestions import service as suggestion_service
from tests.support.api import deploy_a_model


def test_reason_names_words_of_the_transaction_only(services: Services) -> None:
    deploy_a_model(services.engine, services.registry)
    services.live_model.start()
    model = services.live_model.current().model
    row = features_of(RawTransaction(merchant="DAILY GRIND #7", amount=-5.0))

    words = suggestion_service.words_of(model, row, "Coffee")

    assert 0 < len(words) <= suggestion_service.WORDS
    assert set(" ".join(words).split()) <= {*row.line.split(), *row.norm_desc.split()}
