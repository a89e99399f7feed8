"""The import job: a file that was brought to the page becomes transactions, with suggestions.

The file is imported whole or not at all; the rest is done page by page, and doing it again after a
lost worker changes nothing that was done.
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
from shared.statements.reader import line_count
from shared.statements.uploads import OpenUpload
from shared.suggestions import service as suggestion_service
from shared.suggestions import statement_rows, suggestion_store
from worker.execution.lease import Lease
from worker.execution.runner import Outcome
from worker.features import build as feature_build
from worker.statements import importer
from worker.statements.importer import ImportReport


def import_upload(own: Services, claim: Claim, lease: Lease) -> Outcome:
    """Import the file of `import_id`, build features, suggest for what nobody has labelled.

    Raises:
        NotFound: it went with its user, or grew too old.
        NotATable, InvalidInput: see `importer.import_csv`.
    """
    import_id = claim.params["import_id"]
    lease.report("import")
    with uploads.lock(own.engine, import_id), uploads.open_upload(own.engine, import_id) as file:
        report = _import(own, import_id, file, lease)
    with uploads.open_upload(own.engine, import_id) as file:
        ids = [txn_id for _, txn_id in file.row_ids]
    lease.report("features", 0, len(ids))
    feature_build.build_pending(
        own.engine,
        feature_build.Scope(),
        progress=lambda done: lease.report("features", done, max(done, len(ids))),
    )
    kinds = _suggest(own, ids, lease)
    told = asdict(report)
    del told["rejects_path"], told["elapsed_seconds"]
    return Outcome({"import_id": import_id, **told, "kinds": kinds})


def _import(own: Services, import_id: str, file: OpenUpload, lease: Lease) -> ImportReport:
    total = line_count(file.path)
    placed: list[tuple[int, int]] = []
    rejects = file.path.with_name("rejects.csv")
    report = importer.import_csv(
        own.engine,
        file.path,
        options=replace(file.options, rejects=rejects),
        progress=lambda done: lease.report("import", done, max(done, total)),
        placed=lambda line, txn_id: placed.append((line, txn_id)),
    )
    with transaction(own.engine) as session:
        refused = rejects.read_bytes() if rejects.exists() else None
        uploads.record_result(session, import_id, placed, refused)
    return report


def _suggest(own: Services, ids: Sequence[int], lease: Lease) -> dict[str, int]:
    """Suggest for those of these transactions that are open; how all of them stand then."""
    kinds: Counter[str] = Counter(labelled=0, sure=0)
    kinds["to review"] = kinds["unknown"] = 0
    heard_in = partial(
        suggestion_service.serving_context, own.live_model, own.challenger, own.settings
    )
    for begin in range(0, len(ids), statement_rows.PAGE):
        lease.report("suggest", begin, len(ids))
        page = ids[begin : begin + statement_rows.PAGE]
        said, answers = statement_rows.annotate(own.engine, heard_in, page)
        kinds.update(kind for kind, _ in said.values())
        with transaction(own.engine) as session:
            suggestion_store.store_changed(session, answers, forced=False)
    lease.report("suggest", len(ids), len(ids))
    return dict(kinds)
