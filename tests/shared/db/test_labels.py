"""Labels: which source replaces which, and what an undo puts back."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from shared.db import labels
from shared.db.tables import LabelSource, Transaction, TransactionLabel
from shared.errors import Conflict
from tests.support.factories import add_transactions

pytestmark = pytest.mark.usefixtures("clean")
HUMAN, IMPORT, RULE = LabelSource.HUMAN, LabelSource.IMPORT, LabelSource.RULE


@pytest.fixture
def txn_id(engine: Engine) -> int:
    """A transaction without a label."""
    (txn_id,) = add_transactions(engine, 1)
    return txn_id


def label_of(session: Session, txn_id: int) -> tuple[str, LabelSource] | None:
    label = session.get(TransactionLabel, txn_id, populate_existing=True)
    return label and (label.label, label.source)


@pytest.mark.parametrize(
    ("before", "after", "is_replaced"),
    [
        (RULE, RULE, True),
        (RULE, IMPORT, True),
        (IMPORT, RULE, True),
        (IMPORT, HUMAN, True),
        (HUMAN, HUMAN, True),
        (HUMAN, IMPORT, False),
        (HUMAN, RULE, False),
    ],
)
def test_only_a_human_label_replaces_a_human_one(
    engine: Engine, txn_id: int, before: LabelSource, after: LabelSource, is_replaced: bool
) -> None:
    with Session(engine) as session:
        labels.put(session, {txn_id: ("Food", before)})

        written = labels.put(session, {txn_id: ("Rent", after)})

        assert written == ({txn_id: False} if is_replaced else {})
        expected = ("Rent", after) if is_replaced else ("Food", before)
        assert label_of(session, txn_id) == expected


def test_label_that_is_there_already_is_not_written_again(engine: Engine, txn_id: int) -> None:
    with Session(engine) as session:
        assert labels.put(session, {txn_id: ("Food", IMPORT)}) == {txn_id: True}
        assert labels.put(session, {txn_id: ("Food", IMPORT)}) == {}


@pytest.mark.parametrize("before", [IMPORT, HUMAN])
def test_rules_replace_only_labels_of_rules(
    engine: Engine, txn_id: int, before: LabelSource
) -> None:
    with Session(engine) as session:
        labels.put(session, {txn_id: ("Food", before)})
        labels.put(session, {txn_id: ("Rent", RULE)}, only_over_rules=True)
        assert label_of(session, txn_id) == ("Food", before)

        labels.remove(session, txn_id)
        labels.put(session, {txn_id: ("Food", RULE)}, only_over_rules=True)
        labels.put(session, {txn_id: ("Rent", RULE)}, only_over_rules=True)
        assert label_of(session, txn_id) == ("Rent", RULE)


def test_undo_restores_the_replaced_label_with_its_source_and_times(
    engine: Engine, txn_id: int
) -> None:
    with Session(engine) as session:
        labels.put(session, {txn_id: ("Food", IMPORT)})
        before = labels.put_by_person(session, txn_id, "Rent")
        names = "label", "source", "created_at", "updated_at"
        values = {name: getattr(before, name) for name in names}
        assert label_of(session, txn_id) == ("Rent", HUMAN)

        labels.restore(session, txn_id, values)

        assert label_of(session, txn_id) == ("Food", IMPORT)
        labels.restore(session, txn_id, None)
        assert label_of(session, txn_id) is None


def test_person_can_label_what_has_no_label(engine: Engine, txn_id: int) -> None:
    with Session(engine) as session:
        assert labels.put_by_person(session, txn_id, "Food") is None
        assert label_of(session, txn_id) == ("Food", HUMAN)


def test_undo_never_overwrites_a_label_that_is_set_at_the_same_time(
    engine: Engine, txn_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the removal and the restored label another transaction commits its own."""
    remove = labels.remove

    def remove_then_others_label(session: Session, txn_id: int) -> None:
        remove(session, txn_id)
        with Session(engine) as other, other.begin():
            labels.put(other, {txn_id: ("Rent", IMPORT)})

    monkeypatch.setattr(labels, "remove", remove_then_others_label)
    with Session(engine) as session, pytest.raises(Conflict):
        labels.restore(session, txn_id, {"label": "Food", "source": RULE})


def test_labels_of_deleted_transactions_are_not_counted(engine: Engine) -> None:
    first, second = add_transactions(engine, 2)
    with Session(engine) as session:
        labels.put(session, {first: ("Food", HUMAN), second: ("Food", RULE)})
        assert labels.count(session) == 2
        assert labels.count(session, TransactionLabel.source == HUMAN) == 1

        session.get_one(Transaction, first).deleted_at = session.get_one(
            Transaction, second
        ).created_at
        session.flush()

        assert labels.count(session) == 1
