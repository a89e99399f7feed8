"""The id and the log line of each request."""

from __future__ import annotations

import json
import subprocess
import sys


def test_response_has_the_request_id_of_the_client_or_a_new_one(client):
    """So that a line in the log can be found from either side."""
    own = client.get("/healthz", headers={"X-Request-ID": "abc-1"})
    made = client.get("/nowhere", headers={"X-Request-ID": "no spaces allowed"})

    assert own.headers["X-Request-ID"] == "abc-1"
    assert len(made.headers["X-Request-ID"]) == 16


def test_log_has_a_line_for_each_request_and_no_transaction_data(
    environment, live, settings, tmp_path
):
    """A planted name and amount are nowhere in it, not even after an error."""
    code = (
        "import os\n"
        f"os.environ['ML_REGISTRY_DIR'] = {str(settings.registry_dir)!r}\n"
        "from web.wsgi import app\n"
        "client = app.test_client()\n"
        "raw = {'merchant': 'ZANZIBAR ONCOLOGY', 'description': 'QUUX', 'amount': -71234.5}\n"
        "assert client.post('/ml/v2/predict', json=raw).json['available']\n"
        "client.post('/ml/v2/predict', json={**raw, 'nonsense': 'ZANZIBAR'})\n"
        "client.post('/ml/v2/transactions', json={'transactions': [raw]})\n"
        "client.get('/ml/v2/jobs/ZANZIBAR')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["route"] for line in lines if line["event"] == "request"] == [
        "/ml/v2/predict",
        "/ml/v2/predict",
        "/ml/v2/transactions",
        "/ml/v2/jobs/<job_id>",
    ]
    for planted in ("ZANZIBAR", "QUUX", "71234"):
        assert planted not in done.stderr
