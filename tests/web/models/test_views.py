"""Model versions over HTTP."""

from __future__ import annotations

from tests.support.api import deploy_a_model
from tests.support.registry_damage import truncate

SHOP = {"merchant": "BEAN HOUSE #7", "amount": -4.5}


def test_version_shows_who_deployed_it_when_and_why(client, services, engine):
    """And one version tells all about its evaluation."""
    first = deploy_a_model(engine, services.registry)
    second = deploy_a_model(engine, services.registry, rename="New ")

    rolled_back = client.post("/ml/v2/model/rollback", json={"why": "went wrong"})
    models = client.get("/ml/v2/models").json["models"]
    shown = client.get(f"/ml/v2/models/{first}").json
    deployed = client.post(f"/ml/v2/models/{second}/deploy")

    assert rolled_back.json["run_id"] == first
    live = {model["run_id"]: model["live"] for model in models}  # both were made in one second
    deploys = {model["run_id"]: model["deploys"] for model in models}
    assert live == {first: True, second: False}
    assert [deploy["why"] for deploy in deploys[first]] == ["went wrong", "a test"]
    assert shown["report"] == {"accuracy": 0.9}
    assert deployed.json["run_id"] == second
    assert client.post("/ml/v2/models/20260101T000000Z-00000000/deploy").status_code == 404


def test_damaged_version_is_not_deployed_and_the_live_one_stays(
    client,
    services,
    engine,
):
    """Nothing is parsed that does not match its hash."""
    first = deploy_a_model(engine, services.registry)
    second = deploy_a_model(engine, services.registry, rename="New ")
    client.post("/ml/v2/model/rollback")
    path = services.settings.registry_dir / "versions" / second / "arrays.npz"
    truncate(path, path.stat().st_size - 1)

    refused = client.post(f"/ml/v2/models/{second}/deploy")

    assert refused.status_code == 409
    assert refused.json["code"] == "damaged_version"
    assert second in refused.json["detail"]
    assert client.post("/ml/v2/predict", json=SHOP).json["model"]["run_id"] == first
