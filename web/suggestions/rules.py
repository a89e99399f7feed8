"""/ml/v2/rules: rule sets of users and of everyone, their preview, and proposed rules."""

from __future__ import annotations

import re
from typing import Annotated

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import Field, PlainSerializer

from shared.db.engine import transaction
from shared.db.tables import JobKind
from shared.errors import FieldError, InvalidInput
from shared.experiments import traffic_split
from shared.rules import store as rule_store
from shared.rules import yaml_format
from shared.rules.schema import RULES_MAX, Rule, to_json
from shared.suggestions import rule_preview
from shared.suggestions import service as suggestion_service
from web.http import parsing
from web.http.auth import caller
from web.http.context import get_services
from web.http.openapi import documented, documented_job
from web.http.parsing import parse, parse_query
from web.http.schemas import Answer, Body, Identity, Query, UserQuery
from web.suggestions.schemas import HistoryRequest
from web.suggestions.views import request_user_job

bp = Blueprint("rules", __name__, url_prefix="/ml/v2")

YAML = "application/yaml"  # RFC 9512
_YAML_TYPES = frozenset({YAML, "application/x-yaml", "text/yaml", "text/x-yaml"})


class RulesRequest(Body):
    """All rules of a set, in their order; the first that matches a transaction counts."""

    rules: Annotated[list[Rule], Field(max_length=RULES_MAX)]


class OwnerQuery(Query):
    """Whose rules."""

    user_id: Identity | None = Field(None, description="missing: everyone's")


class VersionQuery(OwnerQuery):
    """Which version of the rules; missing: the newest."""

    version: Annotated[int, Field(ge=0, lt=2**31)] | None = None


class PreviewQuery(OwnerQuery):
    """How many of the newest transactions to try the rules on."""

    limit: Annotated[int, Field(ge=1, le=20_000)] = 5_000


AnsweredRules = Annotated[list[Rule], PlainSerializer(to_json)]  # as they were written


class StarterRules(Answer):
    rules: AnsweredRules


class RuleSet(Answer):
    """One version of a set; each change makes the next one, and all are stored."""

    user_id: str | None
    version: int
    rules: AnsweredRules
    updated_by: str
    updated_at: str | None


class Proposal(Answer):
    """A rule that would have made `corrections` unnecessary; it is not saved."""

    rule: Annotated[Rule, PlainSerializer(lambda rule: to_json([rule])[0])]
    corrections: int
    last: str


class Proposals(Answer):
    proposals: list[Proposal]


@bp.get("/rules")
@documented(query=VersionQuery, answer=RuleSet, errors=(404, 503))
def show_rules() -> ResponseReturnValue:
    """The rules of a user, or everyone's; as a file with `Accept: application/yaml`."""
    query = parse_query(VersionQuery)
    with transaction(get_services().engine) as session:
        rule_set = rule_store.read(session, _owner(query.user_id), query.version)
    return _rule_set_response(rule_set)


@bp.put("/rules")
@documented(body=RulesRequest, query=OwnerQuery, answer=RuleSet, errors=(409, 503))
def put_rules() -> ResponseReturnValue:
    """Replace the rules of a user, or everyone's, by these; JSON, or a YAML file.

    With `If-Match`, the `ETag` of the rules they were made from, it is 409 if those were changed
    meanwhile.
    """
    owner, rules = _owner(parse_query(OwnerQuery).user_id), _parse_rules()
    expected = _expected_version()
    with transaction(get_services().engine) as session:
        rule_set = rule_store.save(session, owner, rules, by=caller(), expected=expected)
    return _rule_set_response(rule_set)


@bp.post("/rules/preview")
@documented(body=RulesRequest, query=PreviewQuery, answer=rule_preview.Preview, errors=(503,))
def preview_rules() -> ResponseReturnValue:
    """Preview what these rules would change on stored transactions; nothing is saved."""
    query, rules = parse_query(PreviewQuery), _parse_rules()
    services = get_services()
    with transaction(services.engine) as session:
        serving = suggestion_service.serving_context(
            services.live_model,
            services.challenger,
            services.settings,
            traffic_split.current(session, services.settings),
        )
        owner = _owner(query.user_id)
        return jsonify(rule_preview.preview(session, owner, rules, serving, query.limit))


@bp.post("/rules/apply")
@documented_job(body=HistoryRequest, errors=(503,))
def apply_rules() -> ResponseReturnValue:
    """Queue a job that labels stored transactions by the rules; other labels stay."""
    return request_user_job(JobKind.RULES)


@bp.get("/rules/proposals")
@documented(query=UserQuery, answer=Proposals, errors=(503,))
def show_proposals() -> ResponseReturnValue:
    """Rules that follow from a user's own corrections."""
    user_id = parse_query(UserQuery).user_id
    with transaction(get_services().engine) as session:
        proposed = rule_store.propose_rules(session, user_id)
    proposals = [
        Proposal(rule=it.rule, corrections=it.corrections, last=it.last.isoformat())
        for it in proposed
    ]
    return jsonify(Proposals(proposals=proposals))


@bp.get("/rules/starter")
@documented(answer=StarterRules)
def show_starter() -> ResponseReturnValue:
    """Rules to begin with, for everyone; as a file with `Accept: application/yaml`."""
    if _wants_yaml():
        return Response(yaml_format.starter_rules(), mimetype=YAML)
    return jsonify(StarterRules(rules=yaml_format.load(yaml_format.starter_rules())))


def _owner(user_id: str | None) -> str:
    return rule_store.SHARED if user_id is None else user_id


def _parse_rules() -> list[Rule]:
    if request.mimetype not in _YAML_TYPES:
        return parse(RulesRequest).rules
    try:
        return yaml_format.load(parsing.read_body().decode("utf-8-sig"))
    except UnicodeDecodeError:
        error = FieldError("(body)", "is not UTF-8")
        raise InvalidInput("The file is not UTF-8", [error]) from None


def _expected_version() -> int | None:
    """The version in If-Match; None without the header, or for `*`."""
    if "If-Match" not in request.headers or request.if_match.star_tag:
        return None
    tags = [*request.if_match.as_set()]
    if len(tags) != 1 or not re.fullmatch(r"[0-9]{1,18}", tags[0] or ""):
        message = 'expected one ETag of these rules, such as "3"'
        raise InvalidInput(f"If-Match: {message}", [FieldError("If-Match", message)])
    return int(tags[0])


def _wants_yaml() -> bool:
    best = request.accept_mimetypes.best_match(["application/json", YAML], "application/json")
    return best == YAML


def _rule_set_response(rule_set: rule_store.RuleSetVersion) -> Response:
    if _wants_yaml():
        answer = Response(yaml_format.dump(rule_set.rules), mimetype=YAML)
    else:
        answer = jsonify(
            RuleSet(
                user_id=rule_set.user_id or None,
                version=rule_set.version,
                rules=[*rule_set.rules],
                updated_by=rule_set.updated_by,
                updated_at=rule_set.updated_at.isoformat() if rule_set.updated_at else None,
            )
        )
    answer.set_etag(str(rule_set.version))
    return answer
