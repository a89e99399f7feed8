"""The import job: an upload becomes transactions, with features and suggestions.

The file is imported whole or not at all. The rest is done page by page, and can be repeated after a
lost worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial

from shared.db.engine import transaction
from shared.jobs.store import Claim
from shared.services import Services
from shared.statements import uploads
from shared.statements.reader import count_lines
from shared.statements.uploads import OpenUpload
from shared.suggestions import service as suggestion_service
from shared.suggestions import statement_rows, suggestion_store
from worker.execution.lease import Lease
from worker.execution.runner import Outcome
from worker.features import build
from worker.statements import importer
from worker.statements.importer import ImportReport


def import_upload(services: Services, claim: Claim, lease: Lease) -> Outcome:
    """Import the upload `import_id`, build features, and suggest for its open transactions.

    Raises:
        NotFound: the upload was deleted with its user, or is too old.
        NotATable, InvalidInput: see `importer.import_csv`.
    """
    import_id, engine = claim.params["import_id"], services.engine
    lease.report("import")
    with uploads.lock(engine, import_id), uploads.open_upload(engine, import_id) as file:
        report, row_ids = _import(services, import_id, file, lease)
    ids = [txn_id for _, txn_id in row_ids]
    lease.report("features", 0, len(ids))
    build.build_pending(
        engine,
        build.Scope(),
        progress=lambda done: lease.report("features", done, max(done, len(ids))),
    )
    kinds = _suggest(services, ids, lease)
    counts = asdict(report)
    del counts["rejects_path"], counts["elapsed_seconds"]
    return Outcome({"import_id": import_id, **counts, "kinds": kinds})


def _import(
    services: Services, import_id: str, file: OpenUpload, lease: Lease
) -> tuple[ImportReport, Sequence[tuple[int, int]]]:
    total = count_lines(file.path)
    row_ids: list[tuple[int, int]] = []
    rejects = file.path.with_name("rejects.csv")
    report = importer.import_csv(
        services.engine,
        file.path,
        options=replace(file.options, rejects=rejects),
        progress=lambda done: lease.report("import", done, max(done, total)),
        on_row=lambda line, txn_id: row_ids.append((line, txn_id)),
    )
    content = rejects.read_bytes() if rejects.exists() else None
    with transaction(services.engine) as session:
        uploads.record_result(session, import_id, row_ids, content)
    return report, row_ids


def _suggest(services: Services, ids: Sequence[int], lease: Lease) -> dict[str, int]:
    """Store suggestions for the open ones of some transactions; count all of them by kind."""
    kinds: Counter[str] = Counter({"labelled": 0, "sure": 0, "to review": 0, "unknown": 0})
    context_of = partial(
        suggestion_service.serving_context,
        services.live_model,
        services.challenger,
        services.settings,
    )
    for begin in range(0, len(ids), statement_rows.PAGE):
        lease.report("suggest", begin, len(ids))
        page = ids[begin : begin + statement_rows.PAGE]
        annotations, results = statement_rows.annotate(services.engine, context_of, page)
        kinds.update(kind for kind, _ in annotations.values())
        with transaction(services.engine) as session:
            suggestion_store.store_changed(session, results, forced=False)
    lease.report("suggest", len(ids), len(ids))
    return dict(kinds)
