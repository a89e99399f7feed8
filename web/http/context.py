"""What the views share: the services of this process, and the blueprint of the core routes."""

from __future__ import annotations

from flask import Blueprint, current_app

from shared.services import Services

# Predictions, jobs, models and transactions add their views to it; the names of the routes, which
# are in the OpenAPI document, begin with its name.
ml_v2 = Blueprint("ml_v2", __name__, url_prefix="/ml/v2")


def services() -> Services:
    """The database, the broker, the registry and the model of this process."""
    own: Services = current_app.extensions["ledger"]
    return own
