"""The training process: reads one request, writes progress and one result.

    python -m worker.training.trainer < request

The request is one line of JSON on standard input, which the caller keeps open: when it closes, the
caller has died, and this process exits. Each line on standard output is JSON: progress, and at the
end the result or the error. Logs go to standard error.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from typing import Any

import structlog

from shared import log as logs
from shared.db.engine import CONNECTION_ERRORS, make_engine
from shared.errors import LedgerError, Unavailable
from shared.registry.store import Registry
from shared.settings import Settings, process_settings

NO_MEMORY = ("bad_alloc", "can't start new thread")  # in errors of LightGBM and Python
log = logs.get_logger()


def main() -> int:
    settings = process_settings()
    logs.configure(settings.log_level)
    request = json.loads(sys.stdin.readline())
    structlog.contextvars.bind_contextvars(job_id=request["job_id"])
    threading.Thread(target=_exit_with_caller, daemon=True).start()
    _reserve_blas_buffers()
    _limit_memory(settings.train_memory_mb)
    try:
        _write({"result": _train(settings, request)})
    except CONNECTION_ERRORS:
        _fail(Unavailable.code, "PostgreSQL went away", {})
    except LedgerError as error:
        _fail(error.code, str(error), error.facts)
    except Exception as error:
        if isinstance(error, MemoryError) or any(text in str(error) for text in NO_MEMORY):
            _fail("out_of_memory", f"The run needed more than {settings.train_memory_mb} MB", {})
        else:
            log.exception("trainer.broke")
            _fail("internal_error", f"The run broke ({type(error).__name__}); see the log", {})
    return 0


def _train(settings: Settings, request: dict[str, Any]) -> dict[str, Any]:
    # LightGBM, scikit-learn: under the memory limit
    from shared.model.spellings import fold_label
    from worker.training import pipeline
    from worker.training.open_labels import LabelSharing

    report = pipeline.run(
        make_engine(settings.database_url, application="ledger trainer"),
        Registry(settings.registry_dir),
        pipeline.TrainRequest(
            job_id=request["job_id"],
            limit=request.get("limit"),
            only_if_new=request.get("only_if_new", False),
            min_labels=settings.min_labels,
            threshold_f1=settings.deploy_threshold_f1,
            target_precision=settings.suggest_target_precision,
            sharing=LabelSharing(
                settings.shared_label_users, frozenset(map(fold_label, settings.shared_labels))
            ),
            retire_days=settings.retire_days,
        ),
        lambda *progress: _write({"progress": progress}),
    )
    return report.to_json()


def _write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _fail(code: str, message: str, facts: dict[str, Any]) -> None:
    _write({"error": {"code": code, "message": message, "facts": facts}})


def _exit_with_caller() -> None:
    sys.stdin.read()
    os._exit(1)


def _reserve_blas_buffers() -> None:
    """Make NumPy and SciPy allocate the buffers of their OpenBLAS before memory is limited.

    It allocates at the first product; without room it ends the process, or retries for ever.
    """
    import numpy as np
    from scipy.linalg.blas import dgemm

    square = np.ones((64, 64))
    np.matmul(square, square)
    dgemm(1.0, square, square)


def _limit_memory(megabytes: int) -> None:
    """Limit the address space, so that the run gets a MemoryError before the machine kills it."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = megabytes * 1024 * 1024
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


if __name__ == "__main__":
    raise SystemExit(main())
