"""The service works with and without the library, and uses only one of its own source."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from shared.model.classifier import LabelScore, Model, Prediction
from shared.native import library
from tests.support.trained_models import transactions

compiled = pytest.mark.skipif(not library.is_available(), reason="there is no C compiler here")


def predictions(rows: Sequence[str], files: Path, **env: str) -> tuple[bool, list[Prediction]]:
    """What another process, with or without the kernel, predicts by the model in *files*."""
    code = (
        "import json, sys, pathlib\n"
        "from shared.native import library\n"
        "from shared.features.extract import RawTransaction, features_of\n"
        "from shared.model.classifier import Model\n"
        "files = {file.name: file.read_bytes() for file in pathlib.Path(sys.argv[1]).iterdir()}\n"
        "names = sys.argv[2:]\n"
        "rows = [features_of(RawTransaction(merchant=name, amount=-5.0)) for name in names]\n"
        "result = Model.from_files(files).predict_many(rows)\n"
        "print(json.dumps([library.is_available(), result]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(files), *rows],
        env={**os.environ, **env}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    native, result = json.loads(done.stdout)
    return native, [
        Prediction(label, confidence, tuple(LabelScore(*each) for each in alternatives))
        for label, confidence, alternatives in result
    ]


def test_a_process_without_the_kernel_predicts_the_same(small_model: Model, tmp_path: Path) -> None:
    for name, content in small_model.to_files().items():
        (tmp_path / name).write_bytes(content)
    merchants = [row.merchant for row in transactions(40, 9)[0]]

    native, off = predictions(merchants, tmp_path, **{library.ENV_VAR: "off"})
    _, on = predictions(merchants, tmp_path)

    assert not native
    for one, two in zip(off, on, strict=True):
        assert one.label == two.label
        assert one.confidence == pytest.approx(two.confidence, abs=1e-6)
        assert dict(one.alternatives) == pytest.approx(dict(two.alternatives), abs=1e-6)


@compiled
def test_kernel_built_from_other_source_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "source_digest", lambda: "0" * 64)
    library.is_available.cache_clear()
    try:
        assert not library.is_available()
    finally:
        monkeypatch.undo()
        library.is_available.cache_clear()
