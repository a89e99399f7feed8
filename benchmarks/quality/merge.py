"""Results measured at different times as one: the latest of each method, if of the same rows.

A baseline that has not changed need not be learned again to stand beside a new model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import reduce
from pathlib import Path
from typing import Any

from benchmarks.quality.compare import differences
from benchmarks.quality.data import Unusable
from benchmarks.quality.measure import RESAMPLES
from benchmarks.quality.methods import METHODS

Record = dict[str, Any]

# What each method is told on a learning curve: of which rows has to be the same for all.
_ROWS = ("labels", "windows", "rows")


def stored(paths: Iterable[Path]) -> list[Record]:
    """What --json wrote to *paths*, the earlier first."""
    return [json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()]


def merged(records: Iterable[Record]) -> list[Record]:
    """One record for each file and number of latest rows learned; the latest of each part.

    Of `quality` and `few` it has the latest of each method.

    Raises:
        Unusable: two records of one file were not measured on the same rows.
    """
    of_file: dict[tuple[str, int | None], list[Record]] = {}
    for record in records:
        of_file.setdefault((record["data"], record["latest"]), []).append(record)
    return [_compared(reduce(_joined, some)) if some[1:] else some[0] for some in of_file.values()]


def _joined(earlier: Record, later: Record) -> Record:
    name = f"{later['data']}, latest {later['latest'] or 'all'}"
    _require_same(earlier, later, {"quality", "few", "scale"}, name)
    joined = {**earlier, **later}
    for part in {"quality", "few"} & earlier.keys() & later.keys():
        old, new = earlier[part], later[part]
        _require_same(old, new, {"methods", "differences"}, f"{name}, {part}")
        found = {**old["methods"], **new["methods"]}
        methods = {key: found[key] for key in METHODS if key in found}
        joined[part] = {**new, "methods": methods}
    curves = joined.get("few", {}).get("methods", {}).values()
    rows = {tuple(point[key] for point in one["points"] for key in _ROWS) for one in curves}
    if len(rows) > 1:
        raise Unusable(f"{name}, few: the methods were not measured on the same rows")
    return joined


def _require_same(earlier: Record, later: Record, but: set[str], name: str) -> None:
    for key in sorted((earlier.keys() | later.keys()) - but):
        if earlier.get(key) != later.get(key):
            raise Unusable(f"{name}: not measured on the same rows, {key} differs")


def _compared(record: Record) -> Record:
    if "quality" not in record:
        return record
    quality = record["quality"]
    return {**record, "quality": {**quality, "differences": differences(quality, RESAMPLES)}}
