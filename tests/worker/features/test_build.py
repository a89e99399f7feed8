"""A build writes the features of all pending transactions, and no others."""

from __future__ import annotations

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, text

from shared.db.tables import Transaction
from shared.features.extract import FEATURE_VERSION, FeatureRow, RawTransaction, features_of
from tests.support.factories import add_transactions
from worker.features import build as feature_build
from worker.features.pending import IdRange, Scope

pytestmark = pytest.mark.usefixtures("clean")
ALL = Scope()


def stored(engine: Engine) -> dict[int, FeatureRow]:
    """The features in the database, by transaction."""
    columns = ", ".join(FeatureRow._fields)
    with engine.connect() as connection:
        rows = connection.execute(text(f"SELECT txn_id, {columns} FROM ml_features"))
        return {row[0]: FeatureRow(*row[1:]) for row in rows}


def row_addresses(engine: Engine) -> dict[int, str]:
    """The address on disk of each row of features; it changes when the row is written again."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT txn_id, ctid::text FROM ml_features"))
        return {row[0]: row[1] for row in rows}


def change(engine: Engine, statement: str, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), values)


def test_a_second_build_writes_no_row(engine):
    """Unchanged rows are not even written."""
    add_transactions(engine, 50)
    first = feature_build.build_pending(engine, ALL)
    before = row_addresses(engine)

    second = feature_build.build_pending(engine, ALL)

    assert (first.built, first.unchanged) == (50, 0)
    assert (second.built, second.unchanged, second.removed) == (0, 50, 0)
    assert row_addresses(engine) == before


def test_only_the_row_that_changed_is_built_again(engine):
    """Also after a change in psql, since the database computes the content hash."""
    ids = add_transactions(engine, 50)
    feature_build.build_pending(engine, ALL)
    before = row_addresses(engine)
    change(engine, "UPDATE transactions SET merchant = 'CITY PETROL' WHERE id = :id", id=ids[7])

    report = feature_build.build_pending(engine, ALL)

    after = row_addresses(engine)
    assert (report.built, report.unchanged) == (1, 49)
    assert {txn_id for txn_id in ids if after[txn_id] != before[txn_id]} == {ids[7]}
    assert stored(engine)[ids[7]].merchant == "city petrol"


def test_features_of_another_feature_version_are_built_again(engine):
    """FEATURE_VERSION is compared beside the content hash."""
    ids = add_transactions(engine, 5)
    feature_build.build_pending(engine, ALL)
    change(engine, "UPDATE ml_features SET feature_version = -1 WHERE txn_id = :id", id=ids[0])

    assert feature_build.build_pending(engine, ALL).built == 1
    with engine.connect() as connection:
        versions = set(connection.scalars(text("SELECT feature_version FROM ml_features")))
    assert versions == {FEATURE_VERSION}


def test_features_of_deleted_transactions_are_removed(engine):
    """The next build after a soft delete removes them, and does not build them again."""
    ids = add_transactions(engine, 5)
    feature_build.build_pending(engine, ALL)
    change(engine, "UPDATE transactions SET deleted_at = now() WHERE id = :id", id=ids[0])

    report = feature_build.build_pending(engine, ALL)

    assert (report.built, report.removed) == (0, 1)
    assert set(stored(engine)) == set(ids[1:])


def test_a_build_can_be_limited_to_labelled_transactions(engine):
    """Training needs the features of every label, however old."""
    ids = add_transactions(engine, 20, labelled=6)

    feature_build.build_pending(engine, Scope(labelled=True))

    assert set(stored(engine)) == set(ids[:6])


def test_an_interrupted_build_goes_on_where_it_stopped(engine, monkeypatch):
    """Committed chunks stay."""
    add_transactions(engine, 50)
    monkeypatch.setattr(feature_build, "CHUNK_ROWS", 10)

    class Interrupted(Exception):
        pass

    def interrupt(done: int) -> None:
        if done >= 20:
            raise Interrupted

    with pytest.raises(Interrupted):
        feature_build.build_pending(engine, ALL, progress=interrupt)
    committed = len(stored(engine))
    report = feature_build.build_pending(engine, ALL)

    assert 20 <= committed < 50
    assert report.built == 50 - committed


def test_workers_that_build_the_same_range_write_each_row_once(engine):
    """As when a job is taken over while its first worker still writes."""
    ids = add_transactions(engine, 2000)
    part = IdRange(ids[0], ids[-1] + 1, len(ids))
    threads = [
        threading.Thread(target=feature_build.build_range, args=(engine, part, ALL))
        for _ in range(3)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(stored(engine)) == set(ids)


def test_row_changed_during_a_build_is_not_stored_with_old_features(engine, monkeypatch):
    """A deleted row is left out; a changed one is pending again, since its hash differs."""
    ids = add_transactions(engine, 3)
    read = feature_build._read

    def read_then_others_write(*args: object) -> list[str]:
        lines = read(*args)  # type: ignore[arg-type]
        change(engine, "DELETE FROM transactions WHERE id = :id", id=ids[0])
        change(engine, "UPDATE transactions SET deleted_at = now() WHERE id = :id", id=ids[1])
        change(engine, "UPDATE transactions SET amount = -77 WHERE id = :id", id=ids[2])
        return lines

    monkeypatch.setattr(feature_build, "_read", read_then_others_write)
    feature_build.build_pending(engine, ALL)
    monkeypatch.undo()

    assert set(stored(engine)) == {ids[2]}
    assert feature_build.build_pending(engine, ALL).built == 1
    assert stored(engine)[ids[2]].amount == -77


TEXTS = st.text(
    st.characters(blacklist_characters="\x00", blacklist_categories=("Cs",)), max_size=40
)
RAW = st.builds(
    RawTransaction,
    merchant=st.none() | TEXTS,
    description=st.none() | TEXTS,
    amount=st.decimals(-(10**9), 10**9, places=4).map(float),
    currency=st.sampled_from(["", "EUR", "CAD"]),
    date=st.dates(),
    hour_of_day=st.none() | st.integers(0, 23),
    channel=st.none() | TEXTS,
    mcc=st.none() | st.from_regex(r"[0-9]{4}", fullmatch=True),
    account=st.none() | TEXTS,
    user_id=st.none() | TEXTS,
    **dict.fromkeys(("norm_desc", "abs_amount", "dow", "is_weekend", "is_subscription"), st.none()),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(raws=st.lists(RAW, min_size=1, max_size=20))
def test_build_batch_and_single_prediction_have_equal_features(engine, raws):
    """`features_of` gives the same through the database, for a list, and alone."""
    change(engine, "TRUNCATE transactions CASCADE")
    with engine.begin() as connection:
        columns = set(RawTransaction._fields) & {c.name for c in Transaction.__table__.columns}
        rows = [{name: getattr(raw, name) for name in columns} for raw in raws]
        ids = list(
            connection.scalars(
                insert(Transaction).returning(Transaction.id, sort_by_parameter_order=True), rows
            )
        )

    feature_build.build_pending(engine, ALL)

    built = stored(engine)
    batch = list(map(features_of, raws))
    for txn_id, raw, one in zip(ids, raws, batch, strict=True):
        assert repr(built[txn_id]) == repr(features_of(raw)) == repr(one), (raw, built[txn_id])
