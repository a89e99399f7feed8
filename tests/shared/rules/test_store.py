"""Stored rule sets: one newest version a user, and all earlier ones."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from shared.errors import Conflict, NotFound
from shared.features.extract import RawTransaction, features_of
from shared.rules import store
from shared.rules.schema import parse

pytestmark = pytest.mark.usefixtures("clean")
GYM = parse([{"label": "Sport", "merchant": "gym"}])
RENT = parse([{"label": "Rent", "merchant": "landlord"}])


def test_each_change_is_a_version_and_the_earlier_ones_stay(engine: Engine) -> None:
    with Session(engine) as session:
        assert store.read(session, "ada").version == 0
        store.save(session, "ada", GYM, by="ada")
        store.save(session, "ada", RENT, by="ada")

        assert store.read(session, "ada").rules == tuple(RENT)
        assert store.read(session, "ada", 1).rules == tuple(GYM)
        assert store.read(session, "bob").rules == ()
        with pytest.raises(NotFound):
            store.read(session, "ada", 3)


def test_same_rules_again_make_no_version(engine: Engine) -> None:
    with Session(engine) as session:
        store.save(session, "ada", GYM, by="ada")

        assert store.save(session, "ada", GYM, by="ada").version == 1


def test_change_made_from_another_version_is_a_conflict(engine: Engine) -> None:
    with Session(engine) as session:
        store.save(session, "ada", GYM, by="ada", expected=0)

        with pytest.raises(Conflict, match="at version 1, not 0"):
            store.save(session, "ada", RENT, by="ada", expected=0)


def test_matchers_of_the_newest_versions_are_loaded_by_user(engine: Engine) -> None:
    with Session(engine) as session:
        versions = [
            store.save(session, user, rules, by="test")
            for user, rules in (("ada", GYM), (store.SHARED, RENT))
        ]
        keys = [(it.user_id, it.version, str(it.updated_at)) for it in versions]
        first = store.load_matchers(session, keys)
        again = store.load_matchers(session, keys)

    row = features_of(RawTransaction(merchant="CITY GYM"))
    assert first["ada"].find(row) == 0
    assert first[store.SHARED].find(row) is None
    assert {user: id(it) for user, it in again.items()} == {
        user: id(it) for user, it in first.items()
    }
