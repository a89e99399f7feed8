"""What views share: the services of this process, and the blueprint of the core routes."""

from __future__ import annotations

from flask import Blueprint, current_app

from shared.services import Services

# The views of predictions, jobs, models and transactions. Their operation ids begin with its name.
ml_v2 = Blueprint("ml_v2", __name__, url_prefix="/ml/v2")


def get_services() -> Services:
    """The database, the publisher, the registry and the models of this process."""
    services: Services = current_app.extensions["ledger"]
    return services
