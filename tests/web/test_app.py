"""Paths that lead to no route."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_job_id_with_a_nul_is_not_found(client, method):
    """PostgreSQL has no text with a NUL in it."""
    assert client.open("/ml/v2/jobs/a%00b", method=method).status_code == 404


def test_path_with_doubled_slashes_is_not_found(client):
    """Not redirected: a client may repeat a redirected POST without its body."""
    response = client.post("/ml/v2//predict", json={})

    assert response.status_code == 404
    assert response.mimetype == "application/problem+json"
