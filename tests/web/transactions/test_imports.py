"""A bank's CSV file brought to the service: looked at, taken, suggested for, given back."""

from __future__ import annotations

import csv
import gzip
import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from shared.db.engine import transaction
from shared.db.tables import Job, JobState
from shared.jobs import store as job_store
from shared.jobs.store import Claim
from shared.services import Services
from shared.statements import uploads
from tests.shared.suggestions.test_feedback import wait_until_a_session_waits_for_a_lock
from tests.support.api import PREDICT, bearer
from worker.execution.runner import run
from worker.statements import import_job

BANK = """Date;Payee;Value (EUR);Category
03.05.2026;REWE MARKT 0042;-54,20;Groceries
04.05.2026;=cmd|' /C calc'!A0;-9,90;
05.05.2026;ZORBLAX 12;-12,00;
06.05.2026;ACME GMBH GEHALT;2900,00;Income
07.05.2026;BROKEN ONE;twelve;
08.05.2026;ZORBLAX 12;-13,00;
"""


def upload(
    client: FlaskClient, path: str, content: str | bytes = BANK, name: str = "bank.csv", **said: Any
) -> Any:
    data = content.encode() if isinstance(content, str) else content
    form = {"file": (io.BytesIO(data), name), "options": json.dumps(said)}
    return client.post(path, data=form, content_type="multipart/form-data")


def preview(client: FlaskClient, content: str | bytes = BANK, **said: Any) -> dict[str, Any]:
    answer = upload(client, "/ml/v2/imports/look", content, **said)
    assert answer.status_code == 200, answer.json
    found: dict[str, Any] = answer.json
    return found


def claimed(services: Services, job_id: str) -> Claim:
    with transaction(services.engine) as session:
        claim = job_store.claim(session, job_id)
    assert claim is not None
    return claim


def taken(
    client: FlaskClient, services: Services, content: str | bytes = BANK, **said: Any
) -> dict[str, Any]:
    """Bring a file and do its job; the job's result."""
    asked = upload(client, "/ml/v2/imports", content, **said)
    assert asked.status_code == 202, asked.json
    run(services, claimed(services, asked.json["job_id"]), import_job.import_upload)
    return ended(services, asked.json["job_id"]).result or {}


def ended(services: Services, job_id: str) -> Job:
    with transaction(services.engine) as session:
        job = job_store.get(session, job_id)
    assert job.state is JobState.SUCCEEDED, job.error
    return job


def download(client: FlaskClient, import_id: str, kind: str = "categorized") -> Any:
    answer = client.get(f"/ml/v2/imports/{import_id}/{kind}.csv")
    assert answer.status_code == 200, answer.json
    delimiter = ";" if kind == "categorized" else ","
    return list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig")), delimiter=delimiter))


def count(services: Services, table: str) -> int:
    with services.engine.connect() as connection:
        return int(connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


def test_preview_reports_how_the_file_is_read_and_stores_nothing(
    client: FlaskClient, services: Services
) -> None:
    seen = preview(client)

    assert seen["columns"] == {
        "date": "Date",
        "merchant": "Payee",
        "amount": "Value (EUR)",
        "label": "Category",
    }
    first = seen["rows"][0]
    assert first["line"] == 2
    assert first["values"]["date"] == "2026-05-03"
    assert float(first["values"]["amount"]) == -54.2
    assert (seen["looked_at"], seen["rejected"], seen["whole"]) == (6, 1, True)
    assert seen["rejects"][0]["line"] == 6
    assert "twelve" in seen["rejects"][0]["error"]
    assert (
        count(services, "transactions")
        == count(services, "imports")
        == count(services, "jobs")
        == 0
    )


def test_options_change_how_the_file_is_read(client: FlaskClient) -> None:
    file = "Date,Text,Note,Amount\n03/05/2026,SHOP,A,10.00\n04/06/2026,KIOSK,B,20.00\n"

    usual = preview(client, file)["rows"][0]["values"]
    row = preview(
        client,
        file,
        sign="spend-negative",
        date_format="mm/dd/yyyy",
        columns={"merchant": "Note"},
        currency="CHF",
    )["rows"][0]["values"]

    assert (usual["date"], float(usual["amount"])) == ("2026-05-03", -10.0)
    assert (row["date"], float(row["amount"])) == ("2026-03-05", 10.0)
    assert (row["merchant"], row["currency"]) == ("A", "CHF")


def test_preview_shows_that_the_given_encoding_is_wrong(client: FlaskClient) -> None:
    """Then a person sees what is wrong with it."""
    file = b"Date,Text,Amount\n03/05/2026,CAF\xe9,-10.00\n"

    seen = preview(client, file, encoding="utf-8", sign="spend-negative", date_format="dd/mm/yyyy")

    assert "CAF\udce9" in json.dumps(seen, ensure_ascii=False)


def test_header_that_is_not_text_in_the_given_encoding_is_a_clear_error(
    client: FlaskClient,
) -> None:
    answer = upload(client, "/ml/v2/imports/look", b"\xff\xfeD,x\n1,2\n", encoding="utf-8")

    assert answer.status_code == 400, answer.data
    assert answer.json["errors"][0]["field"] == "file"
    assert "no date column" in answer.json["detail"]


def test_imported_file_gets_suggestions_and_can_be_downloaded(
    client: FlaskClient, services: Services
) -> None:
    result = taken(client, services, user_id="ada")

    assert (result["read"], result["inserted"], result["rejected"]) == (6, 5, 1)
    assert result["rejects"] == [{"line": 6, "reason": result["rejects"][0]["reason"]}]
    assert sum(result["kinds"].values()) == 5
    assert result["kinds"]["labelled"] == 2
    rows = download(client, result["import_id"])
    assert [row["source"] for row in rows][:1] == ["import"]
    assert rows[0]["ledger_category"] == "Groceries"
    assert rows[1]["Payee"] == "'=cmd|' /C calc'!A0"
    assert rows[4]["reason"].startswith("not imported: ")
    assert {row["Payee"] for row in download(client, result["import_id"], "rejects")} == {
        "BROKEN ONE"
    }


def test_downloaded_copy_has_the_labels_given_since(
    client: FlaskClient, services: Services
) -> None:
    result = taken(client, services, user_id="ada")
    with services.engine.connect() as connection:
        first = connection.scalar(
            text("SELECT s.id FROM suggestions s WHERE merchant LIKE 'zorblax%' ORDER BY txn_id")
        )
    correction = {"action": "correct", "label": "Toys"}
    client.post(f"/ml/v2/suggestions/{first}/feedback", json=correction)

    _, _, row, *_, other = download(client, result["import_id"])

    assert (row["ledger_category"], row["source"], row["your_category"]) == ("Toys", "you", "Toys")
    assert (other["ledger_category"], other["source"]) == ("Toys", "own memory")


def test_repeated_upload_changes_nothing(client: FlaskClient, services: Services) -> None:
    first = taken(client, services, user_id="ada")
    suggestions = count(services, "suggestions")

    again = taken(client, services, user_id="ada")

    assert again["import_id"] == first["import_id"]
    assert (again["inserted"], again["unchanged"]) == (0, 5)
    assert count(services, "suggestions") == suggestions
    assert count(services, "imports") == 1


def test_import_of_a_killed_worker_is_completed_by_another(
    client: FlaskClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = upload(client, "/ml/v2/imports", user_id="ada").json["job_id"]
    with monkeypatch.context() as patched:
        patched.setattr(import_job, "_suggest", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            run(services, claimed(services, job_id), import_job.import_upload)
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET lease_until = now() - interval '1 s'"))
    with transaction(services.engine) as session:
        assert job_store.sweep(session) == {"queued": 1}

    run(services, claimed(services, job_id), import_job.import_upload)

    assert count(services, "transactions") == 5
    assert count(services, "suggestions") == 3
    assert (ended(services, job_id).result or {})["unchanged"] == 5


@pytest.mark.parametrize(
    ("content", "said", "field"),
    [
        ("", {}, "file"),
        (b"%PDF-1.7 \x00\x01", {}, "file"),
        ("a,b\n1,2\n", {}, "file"),
        ("date,amount,merchant,ledger_ref\n2026-01-01,1,A,x\n", {}, "file"),
        (BANK, {"date_format": "soon"}, "date_format"),
        (BANK, {"encoding": "klingon"}, "encoding"),
        (BANK, {"currency": "EURO"}, "currency"),
        (BANK, {"sign": "up"}, "sign"),
        (BANK, {"columns": {"colour": "Payee"}}, "columns"),
        (BANK, {"columns": {"merchant": "Nobody"}}, "file"),
        (BANK, {"colour": "red"}, "colour"),
    ],
)
@pytest.mark.parametrize("path", ["/ml/v2/imports", "/ml/v2/imports/look"])
def test_invalid_import_is_refused_with_its_field(
    client: FlaskClient,
    services: Services,
    path: str,
    content: str,
    said: dict[str, Any],
    field: str,
) -> None:
    answer = upload(client, path, content, **said)

    assert answer.status_code == 400, answer.json
    assert answer.json["errors"][0]["field"].split(".")[0] == field
    assert "/tmp" not in answer.text
    assert count(services, "imports") == count(services, "jobs") == 0


def test_body_that_is_no_form_or_too_large_is_refused(client: FlaskClient) -> None:
    assert client.post("/ml/v2/imports", json={}).status_code == 415
    missing = client.post(
        "/ml/v2/imports", data={"options": "{}"}, content_type="multipart/form-data"
    )
    assert (missing.status_code, missing.json["errors"][0]["field"]) == (400, "file")
    assert upload(client, "/ml/v2/imports", b"x" * (33 * 1024 * 1024)).status_code == 413


def test_gzip_file_is_accepted_up_to_its_unpacked_limit(
    client: FlaskClient, services: Services
) -> None:
    packed = gzip.compress(BANK.encode())
    endless = gzip.compress(b"x" * (33 * 1024 * 1024))

    seen = upload(client, "/ml/v2/imports/look", packed, name="bank.csv.gz")
    refused = upload(client, "/ml/v2/imports/look", endless, name="bank.csv.gz")

    assert (seen.status_code, seen.json["looked_at"]) == (200, 6)
    assert refused.status_code == 413


def test_user_deleted_during_an_upload_leaves_nothing(
    client: FlaskClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = upload(client, "/ml/v2/imports", user_id="ada").json["job_id"]
    stored = import_job.importer.import_csv
    with ThreadPoolExecutor() as pool:

        def and_deleted_meanwhile(*given: Any, **named: Any) -> Any:
            deleting.append(pool.submit(client.delete, "/ml/v2/users?user_id=ada"))
            wait_until_a_session_waits_for_a_lock(services.engine)
            return stored(*given, **named)

        deleting: list[Any] = []
        monkeypatch.setattr(import_job.importer, "import_csv", and_deleted_meanwhile)
        run(services, claimed(services, job_id), import_job.import_upload)
        assert deleting[0].result().status_code == 200

    assert (
        count(services, "transactions")
        == count(services, "imports")
        == count(services, "suggestions")
        == 0
    )


def test_predict_scope_allows_previews_and_no_imports(token_client: FlaskClient) -> None:
    form = {"file": (io.BytesIO(BANK.encode()), "bank.csv")}

    seen = token_client.post("/ml/v2/imports/look", data=form, headers=bearer(PREDICT))
    form = {"file": (io.BytesIO(BANK.encode()), "bank.csv")}
    brought = token_client.post("/ml/v2/imports", data=form, headers=bearer(PREDICT))

    assert (seen.status_code, brought.status_code) == (200, 403)


def test_uploads_are_listed_and_deleted_with_their_user_or_after_their_time(
    client: FlaskClient, services: Services
) -> None:
    kept = [taken(client, services, user_id=user)["import_id"] for user in ("ada", "bob")]
    listed = client.get("/ml/v2/imports").json["imports"]
    assert [it["import_id"] for it in listed] == kept[::-1]
    assert (listed[0]["name"], listed[0]["user_id"]) == ("bank.csv", "bob")

    client.delete("/ml/v2/users?user_id=ada")
    assert client.get(f"/ml/v2/imports/{kept[0]}/categorized.csv").status_code == 404
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE imports SET created_at = now() - interval '31 days'"))

    assert client.get("/ml/v2/imports").json["imports"] == []
    for kind in ("categorized", "rejects"):
        assert client.get(f"/ml/v2/imports/{kept[1]}/{kind}.csv").status_code == 404
    with transaction(services.engine) as session:
        uploads.delete_expired(session)
    assert count(services, "imports") == 0


def test_copy_of_a_file_is_not_available_before_its_import(
    client: FlaskClient, services: Services
) -> None:
    import_id = upload(client, "/ml/v2/imports").json["import_id"]

    (listed,) = client.get("/ml/v2/imports").json["imports"]
    answer = client.get(f"/ml/v2/imports/{import_id}/categorized.csv")

    assert (listed["import_id"], listed["imported"]) == (import_id, False)
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")


def test_jobs_of_a_deleted_user_hold_nothing_of_the_file(
    client: FlaskClient, services: Services
) -> None:
    taken(client, services, BANK.replace("twelve", "DR SECRET"), user_id="ada")

    client.delete("/ml/v2/users?user_id=ada")

    with services.engine.connect() as connection:
        rows = connection.execute(text("SELECT params, result, error FROM jobs")).all()
    assert len(rows) == 1
    assert "SECRET" not in str(rows)
    assert "ada" not in str(rows)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        *(
            ({"encoding": it}, "encoding")
            for it in ("idna", "punycode", "undefined", "base64", "rot13", "utf-7", "\0")
        ),
        ({"encoding": "utf-16"}, "file"),  # without its mark
        ({"delimiter": {}}, "delimiter"),
        ({"columns": {"date": "Da\0te"}}, "columns.date"),
    ],
)
def test_invalid_options_are_refused_with_their_field(
    client: FlaskClient, said: dict[str, Any], field: str
) -> None:
    answer = upload(client, "/ml/v2/imports/look", **said)

    assert answer.status_code == 400
    assert [it["field"] for it in answer.json["errors"]] == [field]


def test_unusual_file_names_are_stored_as_text(client: FlaskClient) -> None:
    for name in ("a\0b.csv", "a\x1bb.csv", "x" * 5_000, "ﷺ" * 200):
        assert upload(client, "/ml/v2/imports", name=name).status_code == 202


def test_form_of_another_site_imports_nothing_without_tokens(client: FlaskClient) -> None:
    def status(origin: str) -> int:
        form = {"file": (io.BytesIO(BANK.encode()), "bank.csv")}
        answer = client.post("/ml/v2/imports", data=form, headers={"Origin": origin})
        return answer.status_code

    assert [status(it) for it in ("http://evil.example", "null", "http://localhost")] == [
        403,
        403,
        202,
    ]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("bank.csv", "bank.csv"),
        ("../../etc/passwd", "passwd"),
        ('a"b\r\nSet-Cookie: x.csv', "a_b__Set-Cookie_ x.csv"),
        ("..", "file.csv"),
        ("ﷺ" * 200, "ﷺ" * 33),
        ("C:\\Users\\me\\März 2026.csv", "März 2026.csv"),
    ],
)
def test_uploaded_file_name_is_made_safe(name: str, safe: str) -> None:
    assert uploads.safe_name(name) == safe
