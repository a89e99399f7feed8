"""/ml/v2/users: deleting all data of a user."""

from __future__ import annotations

import datetime as dt

from flask import Blueprint
from flask.typing import ResponseReturnValue

from shared import model_retention
from shared.db.engine import transaction
from shared.user_deletion import delete_user
from web.http.context import services
from web.http.openapi import documented
from web.http.parsing import parse_query
from web.http.schemas import Answer, UserQuery

bp = Blueprint("users", __name__, url_prefix="/ml/v2")


class LearnedModel(Answer):
    """A version that may have learned from a deleted user, and by when it retires."""

    run_id: str
    live: bool
    retire_by: dt.datetime


class DeletedUser(Answer):
    """How much was deleted, and which `models` may have learned from the user's labels."""

    transactions: int
    labels: int
    suggestions: int
    models: list[LearnedModel]


@bp.delete("/users")
@documented(query=UserQuery, answer=DeletedUser, errors=(503,))
def delete_user_data() -> ResponseReturnValue:
    """Delete all data of a user, for good.

    Their transactions, labels, features, suggestions, answers, rules and files.

    A model version holds none of their merchants and descriptions. Versions that may have learned
    from them are removed by `retire_by`, the live one as soon as another has replaced it: then, at
    the latest, the next version that reaches the threshold goes live, better or not. A version that
    is being trained meanwhile retires, too. Train again to have one without this user at once.
    """
    own, whose = services(), parse_query(UserQuery).user_id
    versions, live = own.registry.versions(), model_retention.live(own.registry)
    with transaction(own.engine) as session:
        gone = delete_user(session, whose)
        retire_by = model_retention.retirement_due(session, versions, own.settings.retire_days)
    learned = [
        LearnedModel(run_id=it.run_id, live=it.run_id == live, retire_by=retire_by[it.run_id])
        for it in versions
        if gone.known_since and model_retention.training_time(it) >= gone.known_since
    ]
    return {
        "transactions": gone.transactions,
        "labels": gone.labels,
        "suggestions": gone.suggestions,
        "models": learned,
    }
