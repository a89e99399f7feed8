"""The kernel is equal to the NumPy reference within 1e-6, and to LightGBM."""

from __future__ import annotations

import datetime as dt
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.model import reranker
from shared.model.candidates import CandidateGenerator, encode_rows
from shared.model.classifier import LabelScore, Model, Prediction
from shared.native import build
from shared.native import library as kernel
from shared.native.quickscorer import QuickScorer
from tests.shared.model.test_classifier import transactions
from worker.training import fit

compiled = pytest.mark.skipif(not kernel.is_available(), reason="there is no C compiler here")

ODD = [
    RawTransaction(),
    RawTransaction(merchant="x"),
    RawTransaction(amount=0.0),
    RawTransaction(amount=1e14, date=dt.date.min),
    RawTransaction(merchant="Łódź ☃ 東京", description="to bob", mcc="5411", date=dt.date.max),
]


def known(rows: int, categories: int) -> tuple[Model, list[FeatureRow]]:
    """A model, and rows: its own, some of other shops, and odd ones."""
    learned, labels = transactions(rows, categories)
    strange, _ = transactions(50, 5, seed=2)
    return fit.fit(learned, labels), [*learned[::7], *strange, *map(features_of, ODD)]


@compiled
@pytest.mark.parametrize(("rows", "categories"), [(60, 1), (300, 2), (900, 7), (1_500, 90)])
def test_native_and_reference_candidates_are_equal(rows: int, categories: int) -> None:
    model, some = known(rows, categories)
    inputs = encode_rows(some, model.hash_key)

    assert model.generator.native_agrees(inputs)
    assert not replace(model.generator, use_native=False).native


@compiled
@pytest.mark.parametrize("use_native", [True, False], ids=["native", "reference"])
@pytest.mark.parametrize(("rows", "categories"), [(60, 1), (300, 2), (1_500, 90)])
def test_a_row_has_the_same_candidates_alone_and_among_many(
    rows: int, categories: int, use_native: bool
) -> None:
    model, some = known(rows, categories)
    base = replace(model.generator, use_native=use_native)

    together = base.generate(encode_rows(some, model.hash_key))

    alone = [base.generate(encode_rows([row], model.hash_key)) for row in some]
    for one, many in zip(map(np.concatenate, zip(*alone, strict=True)), together, strict=True):
        assert np.array_equal(one, many, equal_nan=one.dtype.kind == "f")


@compiled
@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        RawTransaction,
        merchant=st.none() | st.text(max_size=60),
        description=st.none() | st.text(max_size=60),
        amount=st.none() | st.floats(allow_nan=True, allow_infinity=True),
        date=st.none() | st.dates(),
        mcc=st.none() | st.from_regex(r"[0-9]{4}", fullmatch=True),
        channel=st.sampled_from(("", "pos", "atm", "transfer")),
    )
)
def test_native_and_reference_candidates_of_any_transaction_are_equal(raw: RawTransaction) -> None:
    model = _one()

    assert model.generator.native_agrees(encode_rows([features_of(raw)], model.hash_key))


_made: list[Model] = []


def _one() -> Model:
    if not _made:
        _made.append(known(400, 9)[0])
    return _made[0]


def grown(missing: bool, leaves: int = 15, **params: object) -> lightgbm.Booster:
    """A forest on seven features, with or without unknown ones among what it learned from."""
    lines = np.random.default_rng(0).normal(size=(3_000, 7)).astype(np.float32).round(2)
    if missing:
        lines[::3, 2] = np.nan
    right = np.nan_to_num(lines[:, 2]) + lines[:, 0] * lines[:, 1] > 0
    told = {"objective": "binary", "num_leaves": leaves, "verbosity": -1, **params}
    return lightgbm.train(told, lightgbm.Dataset(lines, right), num_boost_round=50)


def hard_lines(booster: lightgbm.Booster) -> NDArray[np.float32]:
    """Lines of thresholds, of the floats next to them, and of nothing, infinity and zero."""
    thresholds = booster.trees_to_dataframe()["threshold"].dropna().to_numpy(dtype=np.float32)
    beside = [np.nextafter(thresholds, np.float32(to)) for to in (-np.inf, np.inf)]
    few = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, -1e-36, 3e38], dtype=np.float32)
    pool = np.concatenate([thresholds, *beside, few.repeat(40)])
    return np.random.default_rng(1).choice(pool, size=(4_000, 7))


@compiled
@pytest.mark.parametrize("missing", [True, False])
def test_scores_are_those_of_lightgbm_even_at_the_thresholds(missing: bool) -> None:
    booster = grown(missing)
    lines = hard_lines(booster)

    lines[:, 3] = lines[:, 3].repeat(6)[: len(lines)]  # alike in a group, as much of a row is
    trees = QuickScorer(booster.model_to_string())
    expected = booster.predict(lines, raw_score=True)

    for group in (1, 6, 7):
        assert np.array_equal(trees.scores(lines, group), expected)


@compiled
def test_training_goes_on_where_no_tree_finds_a_split() -> None:
    """Each row has a name of its own, so none of the candidates is ever right."""
    rows, _ = transactions(300, 5)

    model = fit.fit(rows, [f"name {number}" for number in range(len(rows))])

    assert model.predict_many(rows[:5]) == Model.from_files(model.to_files()).predict_many(rows[:5])


@compiled
@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"leaves": 40, "min_data_in_leaf": 1}, "leaves"),
        ({"zero_as_missing": True}, "kind"),
        ({"linear_tree": True}, "linear"),
        ({"objective": "multiclass", "num_class": 3}, "not one tree an iteration"),
        ({"min_gain_to_split": 1e9}, "no tree has a split"),
    ],
)
def test_a_forest_that_it_cannot_read_is_left_to_lightgbm(params: dict[str, int], why: str) -> None:
    text = grown(missing=True, **params).model_to_string()

    with pytest.raises(ValueError, match=why):
        QuickScorer(text)
    assert reranker.max_abs_difference(text, np.zeros((1, 6, 7), dtype=np.float32)) is None
    assert reranker.Reranker(text, max_abs_error=0.0)


@compiled
def test_a_model_says_that_its_forest_was_tried_and_then_uses_it() -> None:
    model = _one()

    assert model.max_abs_error == 0
    again = Model.from_files(model.to_files())
    assert again.max_abs_error == 0
    assert again.reranker
    assert again.reranker._native


@compiled
@pytest.mark.parametrize("agreement", [None, 1e-6])
def test_where_it_was_not_shown_to_agree_lightgbm_answers(
    agreement: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model.from_files(replace(_one(), max_abs_error=agreement).to_files())
    rows = transactions(20, 5, seed=3)[0]
    expected = _one().predict_many(rows)

    def used(*_: object) -> None:
        raise AssertionError("the compiled forest was asked")

    monkeypatch.setattr(QuickScorer, "scores", used)

    assert model.predict_many(rows) == expected


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a library in the place of ours that does one thing otherwise, and says it is ours."""

    def put(right: str, wrong: str) -> None:
        _one()  # made by ours
        text = build.SOURCE.read_text()
        assert text.count(right) == 1
        source, library = tmp_path / "kernel.c", tmp_path / "libkernel.so"
        source.write_text(text.replace(right, wrong))
        told = f'-DSOURCE="{build.source_digest()}"'
        compiler = shlex.split(os.environ.get("CC") or "cc")
        try:
            subprocess.run(
                [*compiler, *build.FLAGS, told, str(source), "-o", str(library), "-lm"], check=True
            )
        except FileNotFoundError:
            pytest.skip("there is no C compiler here: a faulty kernel was NOT tried")
        monkeypatch.setattr(kernel, "LIBRARY", library)

    return put


AMONG_CANDIDATES = "apply(f, feature, rows[row * width + feature], reach)"


@compiled
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (AMONG_CANDIDATES, AMONG_CANDIDATES.replace("feature],", "feature] + 1.0f,")),
        ("if (!f->nan_is_left[at])", "if (f->nan_is_left[at])"),
        ("sum += f->leaves[", "sum += 1e-8 + f->leaves["),
        ("apply(f, feature, group[feature], common)", "apply(f, feature, -group[feature], common)"),
    ],
    ids=["candidates", "missing values", "sum", "shared features"],
)
def test_training_finds_a_kernel_that_scores_otherwise_than_lightgbm(
    right: str, wrong: str, faulty: Callable[[str, str], None]
) -> None:
    """It is tried as it serves: all candidates of a row in one group."""
    model = _one()
    features = model.generator.generate(
        encode_rows(transactions(400, 9)[0], model.hash_key)
    ).features
    faulty(right, wrong)

    difference = reranker.max_abs_difference(model.booster_text, features)

    assert difference is not None
    assert difference > reranker.MAX_ABS_ERROR


@compiled
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("votes[g->proposed[at]] += g->", "votes[g->proposed[at]] -= g->"),
        ("score[labels[j]] > score[label]", "score[labels[j]] >= score[label]"),
        ("rows->amount - g->pair_last", "rows->amount + g->pair_last"),
        ("isnan(rows->amount) ? 0 : 1", "1"),
        ("rows->weekday * k + label", "label"),
        ("rows->day == g->unknown_day ? NAN", "0 ? NAN"),
        ("known += g->known[columns[at]] != 0", "known += 1"),
        ("1 / sum", "1.00001 / sum"),
    ],
    ids=[
        "votes",
        "ranks",
        "amounts",
        "no amount",
        "weekdays",
        "no date",
        "unknown grams",
        "shares",
    ],
)
def test_training_finds_a_kernel_that_proposes_otherwise_than_the_reference(
    right: str, wrong: str, faulty: Callable[[str, str], None]
) -> None:
    model, rows = known(400, 9)
    rows.append(rows[0]._replace(date=None))
    faulty(right, wrong)

    again = CandidateGenerator.from_arrays(
        len(model.labels), model.generator.arrays(), use_native=True
    )

    assert again.native_agrees(encode_rows(rows, model.hash_key)) is False


@compiled
def test_a_version_trained_with_a_faulty_kernel_never_uses_it(
    faulty: Callable[[str, str], None],
) -> None:
    rows, labels = transactions(400, 9)
    faulty("rows->amount - g->pair_last", "rows->amount + g->pair_last")

    for model in fit.fit_and_refit(rows, labels, learned=300):
        assert model.native_agrees is False
        assert model.generator.native is None
        assert Model.from_files(model.to_files()).generator.native is None
    assert _one().native_agrees


@compiled
def test_a_version_whose_candidates_were_not_compared_is_served_by_the_reference() -> None:
    """As older code, and code without a compiler, stored it."""
    model = _one()
    rows = transactions(20, 5, seed=3)[0]

    again = Model.from_files(replace(model, native_agrees=None).to_files())

    assert model.generator.native
    assert again.generator.native is None
    for one, other in zip(again.predict_many(rows), model.predict_many(rows), strict=True):
        assert one.label == other.label
        assert one.confidence == pytest.approx(other.confidence, abs=1e-6)


@compiled
@pytest.mark.parametrize("rows", [20, 20_000])
def test_what_the_forest_is_tried_on_when_it_is_made_are_rows_with_their_candidates(
    rows: int,
) -> None:
    features = np.random.default_rng(0).normal(size=(rows, 6, 7)).astype(np.float32)
    features[:, :, 3] = features[:, :1, 3]

    tried = fit._tried(features, seed=0)

    assert tried.shape == (10_000, 6, 7)
    assert np.all(tried[:, :, 3] == tried[:, :1, 3])


def predictions(rows: Sequence[str], files: Path, **env: str) -> tuple[bool, list[Prediction]]:
    """What another process, with or without the kernel, predicts by the model in *files*."""
    code = (
        "import json, sys, pathlib\n"
        "from shared.native import library\n"
        "from shared.features.extract import RawTransaction, features_of\n"
        "from shared.model.classifier import Model\n"
        "files = {it.name: it.read_bytes() for it in pathlib.Path(sys.argv[1]).iterdir()}\n"
        "rows = [features_of(RawTransaction(merchant=it, amount=-5.0)) for it in sys.argv[2:]]\n"
        "told = Model.from_files(files).predict_many(rows)\n"
        "print(json.dumps([library.is_available(), told]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(files), *rows],
        env={**os.environ, **env}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    native, found = json.loads(done.stdout)
    return native, [
        Prediction(label, confidence, tuple(LabelScore(*it) for it in alternatives))
        for label, confidence, alternatives in found
    ]


def test_a_process_without_it_predicts_the_same(tmp_path: Path) -> None:
    for name, content in _one().to_files().items():
        (tmp_path / name).write_bytes(content)
    merchants = [row.merchant for row in transactions(40, 9)[0]]

    native, plain = predictions(merchants, tmp_path, **{kernel.ENV_VAR: "off"})
    _, other = predictions(merchants, tmp_path)

    assert not native
    for one, two in zip(plain, other, strict=True):
        assert one.label == two.label
        assert one.confidence == pytest.approx(two.confidence, abs=1e-6)
        assert dict(one.alternatives) == pytest.approx(dict(two.alternatives), abs=1e-6)


@compiled
def test_a_library_of_another_source_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "source_digest", lambda: "0" * 64)
    kernel.is_available.cache_clear()
    try:
        assert not kernel.is_available()
    finally:
        monkeypatch.undo()
        kernel.is_available.cache_clear()


def test_without_a_compiler_making_it_says_so_and_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "libkernel.so"
    stale.write_bytes(b"of another source")
    monkeypatch.setattr(build, "LIBRARY", stale)
    monkeypatch.setenv("CC", "no-such-compiler")

    assert build.main() == 0

    assert not stale.exists()
    assert capsys.readouterr().err == (
        "There is no C compiler (no-such-compiler): "
        "predictions give the same answers, and take twice as long.\n"
    )


@pytest.mark.parametrize("use_native", [True, False], ids=["native", "reference"])
def test_no_rows_have_no_candidates(use_native: bool) -> None:
    model = _one()
    base = replace(model.generator, use_native=use_native)

    assert base.generate(encode_rows([], model.hash_key)).labels.shape == (0, 6)
