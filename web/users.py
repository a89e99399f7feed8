"""/ml/v2/users: taking everything away that is known of one."""

from __future__ import annotations

import datetime as dt

from flask import Blueprint
from flask.typing import ResponseReturnValue

from shared.db import transaction
from shared.forget import forget
from web.ml_v2 import services
from web.openapi import documented
from web.reading import parse_query
from web.rules import UserQuery
from web.schemas import Answer

bp = Blueprint("users", __name__, url_prefix="/ml/v2")


class ForgottenUser(Answer):
    """How much was deleted; `models` may have learned from his labels.

    Those that are not live go when `models_kept` newer versions are there.
    """

    transactions: int
    labels: int
    suggestions: int
    models: list[str]
    models_kept: int


@bp.delete("/users")
@documented(query=UserQuery, answer=ForgottenUser, errors=(503,))
def forget_user() -> ResponseReturnValue:
    """Delete all that is kept of a user, for good.

    His transactions, labels, features, suggestions, answers, rules and files.

    A version holds no merchant and no description; train anew to have one that has not learned
    from him.
    """
    own, whose = services(), parse_query(UserQuery).user_id
    with transaction(own.engine) as session:
        gone = forget(session, whose)
    learned = [
        version.run_id
        for version in own.registry.versions()
        if gone.labelled_since and _time(version.created_at) >= gone.labelled_since
    ]
    return {
        "transactions": gone.transactions,
        "labels": gone.labels,
        "suggestions": gone.suggestions,
        "models": learned,
        "models_kept": own.settings.registry_keep,
    }


def _time(created_at: str) -> dt.datetime:
    """When a version was made; of a damaged one that is not known, so it may be today."""
    return dt.datetime.fromisoformat(created_at) if created_at else dt.datetime.now(dt.UTC)
