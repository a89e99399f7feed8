"""A user's answer to a suggestion counts at once, and can be undone exactly."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert, select, text, update
from sqlalchemy.orm import Session

from shared.db.engine import transaction
from shared.db.tables import (
    Action,
    LabelSource,
    Suggestion,
    SuggestionAnswer,
    Transaction,
    TransactionLabel,
)
from shared.errors import Conflict, InvalidInput, NotFound
from shared.features.extract import RawTransaction, features_of
from shared.services import Services
from shared.suggestions import feedback
from shared.suggestions.service import (
    ServingContext,
    SuggestionRequest,
    SuggestionResult,
    look_up,
    suggest,
)
from shared.suggestions.suggestion_store import store
from tests.support.waiting import wait_until

DAY = dt.date(2026, 3, 1)


@pytest.fixture
def session(engine: Engine, clean: None) -> Iterator[Session]:
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


def store_transaction(
    session: Session,
    merchant: str = "ZORBLAX 12",
    user: str | None = "ada",
    description: str | None = None,
) -> SuggestionRequest:
    """A stored transaction, of a merchant that is in no list of brands if none is given."""
    raw = RawTransaction(
        merchant=merchant, description=description, amount=-9.5, currency="EUR", date=DAY,
        user_id=user,
    )  # fmt: skip
    given = {name: value for name, value in raw._asdict().items() if value is not None}
    txn_id = session.scalar(insert(Transaction).values(given).returning(Transaction.id))
    return SuggestionRequest(features_of(raw), txn_id)


def store_suggestion(session: Session, asked: SuggestionRequest) -> tuple[str, SuggestionResult]:
    """Its suggestion by rules and history, stored; no model."""
    (result,) = suggest(*look_up(session, [asked], lambda _: ServingContext()))
    (suggestion_id,) = store(session, [result], forced=False)
    assert suggestion_id
    return suggestion_id, result


def correct(
    session: Session, label: str, merchant: str = "ZORBLAX 12", description: str | None = None
) -> None:
    """Correct the suggestion for another transaction of ada, at ZORBLAX if nothing is given."""
    asked = store_transaction(session, merchant, description=description)
    suggestion, _ = store_suggestion(session, asked)
    feedback.record(session, suggestion, Action.CORRECT, label)


def two_suggestions(client: FlaskClient, services: Services) -> list[str]:
    """Two for the same transaction."""
    bought = {"external_id": "x", "user_id": "ada", "date": "2026-05-01", "amount": -5}
    client.post("/ml/v2/transactions", json={"transactions": [{**bought, "merchant": "ZORBLAX"}]})
    with services.engine.connect() as connection:
        txn_id = connection.scalar(select(Transaction.id))
    asked = [client.post("/ml/v2/suggest", json={"txn_ids": [txn_id]}) for _ in range(2)]
    return [it.json["items"][0]["suggestion_id"] for it in asked]


def correct_suggestion(client: FlaskClient, suggestion_id: str, label: str) -> str:
    """Correct it; the transaction's label then."""
    answer = {"action": "correct", "label": label}
    state = client.post(f"/ml/v2/suggestions/{suggestion_id}/feedback", json=answer)
    assert state.status_code == 200, state.json
    return str(state.json["label"])


def undo_answer(client: FlaskClient, suggestion_id: str) -> str | None:
    state = client.post(f"/ml/v2/suggestions/{suggestion_id}/feedback", json={"action": "undo"})
    assert state.status_code == 200, state.json
    label: str | None = state.json["label"]
    return label


def wait_until_a_session_waits_for_a_lock(engine: Engine) -> None:
    """A session of this database."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        wait_until(lambda: bool(connection.scalar(waiting)), "a session waits for a lock")


def labels(session: Session) -> list[tuple[object, ...]]:
    """Every label, with who gave it and when."""
    statement = text("SELECT txn_id, label, source, created_at, updated_at FROM transaction_labels")
    return [tuple(row) for row in session.execute(statement)]


def test_a_correction_becomes_the_label_and_the_next_suggestion(session: Session) -> None:
    first, second = store_transaction(session), store_transaction(session)
    suggestion, before = store_suggestion(session, first)
    assert before.decision.label is None

    state = feedback.record(session, suggestion, Action.CORRECT, "Toys")

    assert (state.answer, state.label) == (Action.CORRECT, "Toys")
    assert session.get(TransactionLabel, first.txn_id).source is LabelSource.HUMAN
    shown = store_suggestion(session, second)[1].decision
    assert (shown.label, shown.layer) == ("Toys", "own memory")
    assert shown.reasons == ("you chose Toys for this merchant the one time, last for 2026-03-01",)


def test_a_correction_does_not_affect_other_users_or_merchants(session: Session) -> None:
    correct(session, "Toys")

    others = [
        store_transaction(session, user="bob"),
        store_transaction(session, user=None),
        store_transaction(session, "OTHER ONE"),
    ]

    assert [store_suggestion(session, asked)[1].decision.label for asked in others] == [None] * 3


def test_a_correction_outweighs_all_earlier_labels(session: Session) -> None:
    for label in ("Toys", "Toys", "Toys"):
        correct(session, label)

    correct(session, "Gifts")

    assert store_suggestion(session, store_transaction(session))[1].decision.label == "Gifts"


def test_a_payment_service_has_a_history_for_each_description(session: Session) -> None:
    def shown(description: str) -> str | None:
        asked = store_transaction(session, "PayPal", description=description)
        return store_suggestion(session, asked)[1].decision.label

    for _ in range(4):
        correct(session, "Music", "PayPal", "SONGS BY MAIL")
    before = shown("SHOE SHOP")
    correct(session, "Clothes", "PayPal", "SHOE SHOP")

    assert before is None
    assert (shown("SONGS BY MAIL"), shown("SHOE SHOP")) == ("Music", "Clothes")
    assert shown("A HAT") is None
    refused, _ = store_suggestion(
        session, store_transaction(session, "PayPal", description="SHOE SHOP")
    )
    feedback.record(session, refused, Action.REJECT, None)
    assert (shown("SONGS BY MAIL"), shown("SHOE SHOP")) == ("Music", None)


def test_only_an_answered_suggestion_becomes_a_label(
    session: Session,
) -> None:
    correct(session, "Toys")
    accepted, unanswered = store_transaction(session), store_transaction(session)
    store_suggestion(session, unanswered)

    feedback.record(session, store_suggestion(session, accepted)[0], Action.ACCEPT, None)

    assert session.get(TransactionLabel, accepted.txn_id).label == "Toys"
    assert session.get(TransactionLabel, unanswered.txn_id) is None


def test_a_rejected_category_is_not_suggested_again_for_that_merchant(session: Session) -> None:
    correct(session, "Toys")

    feedback.record(
        session, store_suggestion(session, store_transaction(session))[0], Action.REJECT, None
    )

    shown = store_suggestion(session, store_transaction(session))[1].decision
    assert shown.label is None
    assert "Toys" not in [other.label for other in shown.alternatives]


@pytest.mark.parametrize("action", [Action.ACCEPT, Action.CORRECT, Action.REJECT])
@pytest.mark.parametrize("source", [None, LabelSource.IMPORT, LabelSource.HUMAN])
def test_undo_restores_the_label_with_its_source_and_times(
    session: Session, action: Action, source: LabelSource | None
) -> None:
    correct(session, "Toys")
    asked = store_transaction(session)
    if source:
        at = dt.datetime(2025, 5, 5, tzinfo=dt.UTC)
        values = {"txn_id": asked.txn_id, "label": "Toys", "source": source}
        session.execute(insert(TransactionLabel).values(**values, created_at=at, updated_at=at))
    before = labels(session)
    suggestion = store_suggestion(session, asked)[0]

    feedback.record(session, suggestion, action, "Gifts" if action is Action.CORRECT else None)
    state = feedback.undo(session, suggestion)

    assert labels(session) == before
    assert (state.answer, state.answer_label) == (None, None)


def test_undo_goes_back_one_answer_at_a_time(session: Session) -> None:
    correct(session, "Toys")
    suggestion, _ = store_suggestion(session, store_transaction(session))
    feedback.record(session, suggestion, Action.ACCEPT, None)
    feedback.record(session, suggestion, Action.CORRECT, "Gifts")
    feedback.record(session, suggestion, Action.CORRECT, "Books")

    states = [feedback.undo(session, suggestion) for _ in range(4)]

    assert [(state.answer, state.label) for state in states] == [
        (Action.CORRECT, "Gifts"),
        (Action.ACCEPT, "Toys"),
        (None, None),
        (None, None),
    ]


def test_an_undone_rejection_lets_the_category_be_suggested_again(session: Session) -> None:
    correct(session, "Toys")
    rejected = store_suggestion(session, store_transaction(session))[0]
    feedback.record(session, rejected, Action.REJECT, None)

    feedback.undo(session, rejected)

    assert store_suggestion(session, store_transaction(session))[1].decision.label == "Toys"


def test_a_repeated_answer_changes_nothing(session: Session) -> None:
    suggestion, _ = store_suggestion(session, store_transaction(session))

    first = feedback.record(session, suggestion, Action.CORRECT, "Toys")
    before = labels(session)
    again = feedback.record(session, suggestion, Action.CORRECT, "Toys")

    assert again == first
    assert labels(session) == before
    assert len(session.scalars(select(SuggestionAnswer)).all()) == 1


def test_a_label_given_since_is_not_undone(session: Session) -> None:
    asked = store_transaction(session)
    suggestion, _ = store_suggestion(session, asked)
    feedback.record(session, suggestion, Action.CORRECT, "Toys")
    session.execute(text("UPDATE transaction_labels SET label = 'Elsewhere'"))

    with pytest.raises(Conflict, match="labelled anew"):
        feedback.undo(session, suggestion)

    assert [row[1] for row in labels(session)] == ["Elsewhere"]


def test_of_two_suggestions_for_a_transaction_the_later_answer_is_undone_first(
    client: FlaskClient, services: Services
) -> None:
    first, second = two_suggestions(client, services)
    correct_suggestion(client, first, "Toys")
    correct_suggestion(client, second, "Toys")

    early = client.post(f"/ml/v2/suggestions/{first}/feedback", json={"action": "undo"})

    assert early.status_code == 409
    assert undo_answer(client, second) == "Toys"
    assert undo_answer(client, first) is None


def test_earlier_answer_can_be_given_again_after_another(
    client: FlaskClient, services: Services
) -> None:
    first, second = two_suggestions(client, services)
    correct_suggestion(client, first, "Toys")
    correct_suggestion(client, second, "Gifts")

    assert correct_suggestion(client, first, "Toys") == "Toys"
    assert undo_answer(client, first) == "Gifts"


def test_the_same_label_given_anew_is_not_undone(client: FlaskClient, services: Services) -> None:
    first, _ = two_suggestions(client, services)
    correct_suggestion(client, first, "Toys")
    for label in ("Books", "Toys"):
        client.post("/ml/v2/labels", json={"labels": [{"external_id": "x", "label": label}]})

    undo = client.post(f"/ml/v2/suggestions/{first}/feedback", json={"action": "undo"})

    assert (undo.status_code, undo.json["code"]) == (409, "conflict")
    with transaction(services.engine) as session:
        assert [row[1] for row in labels(session)] == ["Toys"]


def test_undo_restores_a_label_that_was_set_concurrently(
    client: FlaskClient, services: Services
) -> None:
    first, _ = two_suggestions(client, services)
    with ThreadPoolExecutor() as pool, services.engine.connect() as other:
        txn_id = other.scalar(select(Transaction.id))
        row = {"txn_id": txn_id, "label": "Books", "source": LabelSource.IMPORT}
        other.execute(insert(TransactionLabel).values(row))
        correcting = pool.submit(correct_suggestion, client, first, "Toys")
        wait_until_a_session_waits_for_a_lock(services.engine)
        other.commit()
        assert correcting.result() == "Toys"

    assert undo_answer(client, first) == "Books"


def test_an_answer_and_a_new_label_at_the_same_moment_never_mix(
    client: FlaskClient, services: Services
) -> None:
    first, _ = two_suggestions(client, services)
    correct_suggestion(client, first, "Toys")
    with ThreadPoolExecutor() as pool, services.engine.connect() as other:
        other.execute(update(TransactionLabel).values(label="Books"))
        undoing = pool.submit(
            client.post, f"/ml/v2/suggestions/{first}/feedback", json={"action": "undo"}
        )
        wait_until_a_session_waits_for_a_lock(services.engine)
        other.commit()
        assert undoing.result().status_code == 409

    with transaction(services.engine) as session:
        assert [row[1] for row in labels(session)] == ["Books"]


def test_a_later_answer_lifts_a_rejection(session: Session) -> None:
    first, second, third = (
        store_transaction(session),
        store_transaction(session),
        store_transaction(session),
    )
    feedback.record(session, store_suggestion(session, first)[0], Action.CORRECT, "Toys")
    rejected, _ = store_suggestion(session, second)
    feedback.record(session, rejected, Action.REJECT, None)
    assert store_suggestion(session, third)[1].decision.label is None

    feedback.record(session, rejected, Action.ACCEPT, None)

    assert store_suggestion(session, third)[1].decision.label == "Toys"


def test_a_correction_to_the_suggested_label_is_an_accept(session: Session) -> None:
    correct(session, "Toys")
    suggestion, _ = store_suggestion(session, store_transaction(session))

    assert feedback.record(session, suggestion, Action.CORRECT, "Toys").answer is Action.ACCEPT


def test_invalid_answers_are_refused_and_name_the_field(session: Session) -> None:
    asking, _ = store_suggestion(session, store_transaction(session))
    raw, _ = store_suggestion(session, SuggestionRequest(store_transaction(session).row))

    refusals = []
    for wanted in (
        (asking, Action.CORRECT, None),
        (asking, Action.ACCEPT, None),
        (asking, Action.REJECT, None),
        (asking, Action.ACCEPT, "Toys"),
    ):
        with pytest.raises(InvalidInput) as refused:
            feedback.record(session, *wanted)
        refusals.append(refused.value.errors[0].field)
    assert refusals == ["label", "action", "action", "label"]
    with pytest.raises(Conflict, match="store it"):
        feedback.record(session, raw, Action.CORRECT, "Toys")
    with pytest.raises(NotFound):
        feedback.undo(session, "nosuch")
    assert labels(session) == []


def test_suggestions_are_deleted_with_their_transaction(session: Session) -> None:
    asked = store_transaction(session)
    feedback.record(session, store_suggestion(session, asked)[0], Action.CORRECT, "Toys")

    session.execute(text("DELETE FROM transactions"))

    assert session.scalars(select(Suggestion.id)).all() == []
    assert session.scalars(select(SuggestionAnswer.id)).all() == []
