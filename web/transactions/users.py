"""/ml/v2/users: deletion of all data of a user."""

from __future__ import annotations

import datetime as dt

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from shared import model_retention
from shared.db.engine import transaction
from shared.user_deletion import delete_user
from web.http.context import get_services
from web.http.openapi import documented
from web.http.parsing import parse_query
from web.http.schemas import Answer, UserQuery

bp = Blueprint("users", __name__, url_prefix="/ml/v2")


class LearnedModel(Answer):
    """A version that may have learned from a deleted user, and the date of its removal."""

    run_id: str
    live: bool
    retire_by: dt.datetime


class DeletedUser(Answer):
    """How many rows were deleted, and which `models` may have learned from the user's labels."""

    transactions: int
    labels: int
    suggestions: int
    models: list[LearnedModel]


@bp.delete("/users", endpoint="forget_user")  # its operation id is published
@documented(query=UserQuery, answer=DeletedUser, errors=(503,))
def delete_user_data() -> ResponseReturnValue:
    """Delete all data of a user, for good.

    Their transactions, labels, features, suggestions, answers, rules and files.

    From the next request on, no version uses what it learned of this user: they are answered as
    somebody new, until a version is trained after this. A version holds none of their merchants and
    descriptions. Versions that may have learned from them are removed by `retire_by`, the live one
    as soon as another has replaced it: then, at the latest, the next version that reaches the
    threshold goes live, better or not. A version that is being trained meanwhile retires, too.
    """
    services, user_id = get_services(), parse_query(UserQuery).user_id
    versions, live = services.registry.versions(), model_retention.live(services.registry)
    days = services.settings.retire_days
    services.registry.delete_user(user_id)
    with transaction(services.engine) as session:
        report = delete_user(session, user_id, services.settings.shared_label_users)
        due = model_retention.retirement_due(session, versions, days)
    models = [
        LearnedModel(run_id=it.run_id, live=it.run_id == live, retire_by=due[it.run_id])
        for it in versions
        if report.known_since and model_retention.training_time(it) >= report.known_since
    ]
    deleted = DeletedUser(
        transactions=report.transactions,
        labels=report.labels,
        suggestions=report.suggestions,
        models=models,
    )
    return jsonify(deleted)
