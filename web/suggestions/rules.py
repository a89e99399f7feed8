"""/ml/v2/rules: what people wrote down once, so that it need not be learned."""

from __future__ import annotations

import re
from typing import Annotated

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from shared.db.engine import transaction
from shared.db.tables import JobKind
from shared.errors import FieldError, InvalidInput
from shared.experiments import traffic_split
from shared.rules import store as rule_store
from shared.rules import yaml_format
from shared.rules.schema import RULES_MAX, Rule, to_json
from shared.suggestions import rule_preview
from shared.suggestions import service as suggestion_service
from web.http import parsing, schemas
from web.http.auth import caller
from web.http.context import services
from web.http.openapi import documented
from web.http.parsing import parse, parse_query
from web.http.schemas import Answer, Body, Identity, UserQuery
from web.suggestions.schemas import HistoryRequest
from web.suggestions.views import request_user_job

bp = Blueprint("rules", __name__, url_prefix="/ml/v2")

YAML = "application/yaml"  # RFC 9512
_YAML_TYPES = frozenset({YAML, "application/x-yaml", "text/yaml", "text/x-yaml"})


class RulesRequest(Body):
    """All rules of a set, in their order; the first that fits a transaction counts."""

    rules: Annotated[list[Rule], Field(max_length=RULES_MAX)]


class OwnerQuery(BaseModel):
    """Whose rules."""

    model_config = ConfigDict(extra="forbid")

    user_id: Identity | None = Field(None, description="missing: everyone's")


class VersionQuery(OwnerQuery):
    """Which version of them; missing: the newest."""

    version: Annotated[int, Field(ge=0, lt=2**31)] | None = None


class PreviewQuery(OwnerQuery):
    """How many of the newest transactions are looked at."""

    limit: Annotated[int, Field(ge=1, le=20_000)] = 5_000


class RuleSet(Answer):
    """One version of a set; each change makes the next one, and none is lost."""

    user_id: str | None
    version: int
    rules: list[Rule]
    updated_by: str
    updated_at: str | None


class Proposal(Answer):
    """A rule that so many corrections ask for; nothing is saved until somebody puts it."""

    rule: Rule
    corrections: int
    last: str


class Proposals(Answer):
    proposals: list[Proposal]


BODY = TypeAdapter(RulesRequest)


@bp.get("/rules")
@documented(query=VersionQuery, answer=RuleSet, errors=(404, 503))
def show_rules() -> ResponseReturnValue:
    """The rules of a user, or everyone's; as a file with `Accept: application/yaml`."""
    wanted = parse_query(VersionQuery)
    with transaction(services().engine) as session:
        found = rule_store.read(session, _set_of(wanted.user_id), wanted.version)
    return _queue_item(found)


@bp.put("/rules")
@documented(body=RulesRequest, query=OwnerQuery, answer=RuleSet, errors=(409, 503))
def put_rules() -> ResponseReturnValue:
    """Replace the rules of a user, or everyone's, by these; JSON, or a YAML file.

    With `If-Match`, the `ETag` of the rules they were made from, it is 409 if those were changed
    meanwhile.
    """
    whose, rules, expected = parse_query(OwnerQuery).user_id, _rules(), _expected()
    with transaction(services().engine) as session:
        saved = rule_store.save(session, _set_of(whose), rules, by=caller(), expected=expected)
    return _queue_item(saved)


@bp.post("/rules/preview")
@documented(body=RulesRequest, query=PreviewQuery, answer=rule_preview.Preview, errors=(503,))
def preview_rules() -> ResponseReturnValue:
    """What these rules would change on stored transactions; nothing is saved."""
    wanted, rules = parse_query(PreviewQuery), _rules()
    own = services()
    with transaction(own.engine) as session:
        heard = suggestion_service.serving_context(
            own.live_model,
            own.challenger,
            own.settings,
            traffic_split.current(session, own.settings),
        )
        seen = rule_preview.preview(session, _set_of(wanted.user_id), rules, heard, wanted.limit)
    return jsonify(seen)


@bp.post("/rules/apply")
@documented(
    body=HistoryRequest,
    body_may_be_empty=True,
    answer=schemas.AcceptedJob,
    status=202,
    errors=(503,),
    idempotent_by_key=True,
)
def apply_rules() -> ResponseReturnValue:
    """Have the rules label stored transactions; what a person or an import said stays."""
    return request_user_job(JobKind.RULES)


@bp.get("/rules/proposals")
@documented(query=UserQuery, answer=Proposals, errors=(503,))
def show_proposals() -> ResponseReturnValue:
    """Rules that a user's own corrections ask for."""
    whose = parse_query(UserQuery).user_id
    with transaction(services().engine) as session:
        found = rule_store.propose_rules(session, whose)
    return {
        "proposals": [
            {
                "rule": to_json([it.rule])[0],
                "corrections": it.corrections,
                "last": it.last.isoformat(),
            }
            for it in found
        ]
    }


@bp.get("/rules/starter")
@documented(answer=RulesRequest)
def show_starter() -> ResponseReturnValue:
    """Rules to begin with, for everyone; as a file with `Accept: application/yaml`."""
    if _wants_yaml():
        return Response(yaml_format.starter_rules(), mimetype=YAML)
    return {"rules": to_json(yaml_format.load(yaml_format.starter_rules()))}


def _set_of(user_id: str | None) -> str:
    return rule_store.SHARED if user_id is None else user_id


def _rules() -> list[Rule]:
    if request.mimetype not in _YAML_TYPES:
        return parse(BODY).rules
    try:
        return yaml_format.load(parsing.whole_body().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidInput(
            "The file is not UTF-8", [FieldError("(body)", "is not UTF-8")]
        ) from None


def _expected() -> int | None:
    """The version in If-Match; None without it, or where any will do."""
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


def _queue_item(found: rule_store.RuleSetVersion) -> Response:
    if _wants_yaml():
        answer = Response(yaml_format.dump(found.rules), mimetype=YAML)
    else:
        answer = jsonify(
            user_id=found.user_id or None,
            version=found.version,
            rules=to_json(found.rules),
            updated_by=found.updated_by,
            updated_at=found.updated_at and found.updated_at.isoformat(),
        )
    answer.set_etag(str(found.version))
    return answer
