"""Promises of the learner: from labelled rows to a model."""

from __future__ import annotations

import datetime as dt
import random
import threading
from typing import Any

import numpy as np
import pytest

from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.model.candidates import CandidateGenerator, Candidates, EncodedRows
from tests.support.trained_models import ALL_OPEN, FIRST_DAY, accuracy, train, transactions
from worker.training import fit, label_names, parallel
from worker.training.fit_candidates import fit_generator

# Words for eight trades, and letters to make up shops of.
SCRIPTS = {
    "English": (
        "bakery pharmacy garage florist butcher bookshop optician cinema",
        "abdegiklmnorstu",
    ),
    "German": (
        "bäckerei apotheke werkstatt blumen metzgerei bücher optik größe",
        "aäbeghiklmnoöstuüß",
    ),
    "Polish": (
        "piekarnia apteka warsztat kwiaciarnia rzeźnik książki okulista łódź",
        "aąbcćeęłńośżź",
    ),
    "Greek": (
        "φούρνος φαρμακείο συνεργείο λουλούδια κρεοπωλείο βιβλία οπτικά σινεμά",
        "αβγδεηικλμνορστω",
    ),
    "Russian": ("пекарня аптека гараж цветы мясо книги оптика кино", "абвгдеиклмнорсту"),
    "Arabic": ("مخبز صيدلية ورشة زهور جزار كتب نظارات سينما", "ابتجدرسعفقلمنهوي"),
    "Hindi": ("बेकरी दवाखाना गैराज फूल कसाई किताबें चश्मा सिनेमा", "कगचजटडतदनपबमयरलवसह"),
    "Japanese": (
        "パン屋 薬局 修理工場 花屋 肉屋 本屋 眼鏡店 映画館",
        "あいうえおかきくけこさしすせそたちつてと",
    ),
}


def in_script(trades: str, letters: str) -> tuple[list[FeatureRow], list[str]]:
    """1,600 purchases, each in a shop of its own; one in ten does not name its trade."""
    draw = random.Random(3)
    words = trades.split()
    rows, labels = [], []
    for index in range(1600):
        category = draw.randrange(len(words))
        name = "".join(draw.choices(letters, k=5))
        trade = words[category] if draw.random() < 0.9 else ""
        raw = RawTransaction(
            merchant=f"{name} {trade}".strip(),
            description=draw.choice((None, words[category][:3])),
            amount=-round(draw.uniform(1, 100), 2),
            date=FIRST_DAY + dt.timedelta(days=index // 4),
        )
        rows.append(features_of(raw))
        labels.append(f"Category {category}")
    return rows, labels


def test_the_same_rows_and_seed_give_the_same_bytes() -> None:
    rows, labels = transactions(800, 6)

    first, second = (fit.fit(rows, labels, seed=3).to_files() for _ in range(2))

    assert first == second


def test_one_core_gives_the_same_bytes_as_two(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = transactions(800, 6)
    files = []
    for cores in (1, 2):
        monkeypatch.setattr(parallel, "THREADS", cores)
        fitted = fit.fit_and_refit(rows, labels, learned=700)
        files.append([model.to_files() for model in fitted])

    assert files[0] == files[1]


def test_a_single_category_is_predicted_with_confidence() -> None:
    rows, labels = transactions(50, 1)

    prediction = fit.fit(rows, labels).predict(features_of(RawTransaction()))

    assert prediction.label == labels[0]
    assert prediction.confidence > 0.9
    assert prediction.alternatives == ()


@pytest.mark.parametrize("n", [2, 3, 7, 25], ids=lambda n: f"{n} rows")
def test_label_with_a_single_row_is_learned(n: int) -> None:
    rows, _ = transactions(n, 1)
    labels = [f"Own {index}" for index in range(n)]

    model = fit.fit(rows, labels, sharing=ALL_OPEN)

    assert set(model.labels) == set(labels)
    assert model.predict(rows[0]).label in labels


def test_model_recognizes_known_shops_and_the_trade_of_new_ones() -> None:
    rows, labels = transactions(1600, 8, noise=0.02)

    model = fit.fit(rows[:1300], labels[:1300])

    assert accuracy(model, rows[1300:], labels[1300:]) > 0.9
    name = f"brand new {rows[0].merchant.split()[-1]}"
    new_shop = rows[0]._replace(line=name, merchant=name)
    assert model.predict(new_shop).label == model.predict(rows[0]).label


def test_a_thousand_categories_are_learned() -> None:
    """Plain multiclass boosting falls below the most frequent label here, after minutes."""
    rows, labels = transactions(3600, 1000)

    model = fit.fit(rows[:3200], labels[:3200])

    most_frequent = max(labels.count(label) for label in set(labels)) / len(labels)
    assert accuracy(model, rows[3200:], labels[3200:]) > most_frequent + 0.2


@pytest.mark.parametrize("later", ["turned", "new"])
def test_no_later_row_changes_what_is_held_out(later: str) -> None:
    """The last block's candidates must not know the labels they are judged by, nor others."""
    rows, labels = transactions(400, 4)
    changed = list(labels)
    for index in range(352, 400):
        changed[index] = labels[index - 1] if later == "turned" else f"New {index}"

    before, after = (held_out(rows, each) for each in (labels, changed))

    assert np.array_equal(before.features, after.features[:, :4], equal_nan=True)
    assert np.array_equal(before.linear, after.linear[:, :4])


def test_undated_rows_do_not_split_the_held_out_blocks() -> None:
    rows, labels = transactions(400, 4)
    rows = [row._replace(date=None) if at % 3 else row for at, row in enumerate(rows)]
    rows = rows[::-1]

    held = held_out(rows, labels)

    days = fit._read(rows, b"key", lambda *_: None).rows["day"]
    cuts = fit._cuts(days)
    assert cuts == sorted(cuts)
    assert len(held.labels) == len(rows) - cuts[0]


@staticmethod
def held_out(rows: list[FeatureRow], labels: list[str]) -> Candidates:
    inputs = fit._read(rows, b"key", lambda *_: None)
    with parallel.FitPool(lambda *_: None) as own:
        return fit._held_out(inputs, label_names.name_labels(labels), ALL_OPEN, own)[0]


def test_row_dated_years_ahead_hardly_changes_other_predictions() -> None:
    """Else all of them would look equally old, and what changed since would be lost."""
    rows, labels = transactions(1000, 4, noise=0)
    half = len(rows) // 2
    names = sorted(set(labels))
    turned = [names[(names.index(label) + 1) % 4] for label in labels[half:]]
    labels = [*labels[:half], *turned]
    typo = rows[0]._replace(date=dt.date(2099, 1, 1), line="typo", merchant="typo")

    plain, beside = (
        accuracy(fit.fit_and_refit(*examples, learned=900).stored, rows[900:], labels[900:])
        for examples in (
            (rows[:900], labels[:900]),
            ([*rows[:900], typo], [*labels[:900], labels[0]]),
        )
    )

    assert beside > plain - 0.03


def test_model_of_shuffled_labels_is_no_better_than_chance() -> None:
    rows, labels = transactions(2000, 8, noise=0)
    random.Random(5).shuffle(labels)

    model = fit.fit(rows[:1600], labels[:1600])

    share = max(labels.count(label) for label in set(labels)) / len(labels)
    assert accuracy(model, rows[1600:], labels[1600:]) < share + 0.05
    sure = [prediction.confidence for prediction in model.predict_many(rows[1600:])]
    assert sum(sure) / len(sure) < share + 0.1


@pytest.mark.parametrize("script", SCRIPTS)
def test_other_scripts_are_learned_as_well_as_english(script: str) -> None:
    """Shops never seen, known by their trade's word and by what was bought."""
    spoken = [in_script(*SCRIPTS[name]) for name in ("English", script)]
    english, other = (
        accuracy(fit.fit(rows[:1200], labels[:1200]), rows[1200:], labels[1200:])
        for rows, labels in spoken
    )

    assert english > 0.8
    assert other > english - 0.03


def test_refitted_generator_knows_new_labels_and_shops() -> None:
    rows, labels = transactions(800, 6)
    shop = "quux novelties"
    more = [rows[-1]._replace(line=shop, merchant=shop, norm_desc="")] * 5

    model, refitted = fit.fit_and_refit([*rows, *more], [*labels, *["Novelties"] * 5], learned=800)

    assert model.to_files() == train(800, 6).to_files()
    assert "Novelties" in refitted.labels
    assert refitted.predict(more[0]).label == "Novelties"
    assert refitted.booster_text == model.booster_text


def test_progress_is_reported_and_may_end_the_run() -> None:
    phases: list[str] = []

    def stop(phase: str, done: int, total: int) -> None:
        phases.append(phase)
        if phase == "forest":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit.fit(*transactions(800, 6), progress=stop)

    assert list(dict.fromkeys(phases)) == ["encode", "base", "candidates", "forest"]


def test_rows_without_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="1 rows and 0 labels"):
        fit.fit(transactions(1, 1)[0], [])


def test_failing_generator_fit_ends_the_training_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both forests of a large set take minutes."""
    rows, labels = transactions(900, 5)
    forests = list[int]()
    begun, failed = threading.Event(), threading.Event()

    def failing(inputs: EncodedRows, *rest: Any) -> CandidateGenerator:
        if inputs.size < 900:
            return fit_generator(inputs, *rest)
        begun.wait(60)
        failed.set()
        raise MemoryError("no memory for the generator")

    def progress(phase: str, done: int, total: int) -> None:
        if phase == "forest":
            begun.set()
            failed.wait(60)
            forests.append(done)

    monkeypatch.setattr(fit, "fit_generator", failing)

    with pytest.raises(MemoryError, match="no memory"):
        fit.fit(rows, labels, progress=progress)

    assert len(forests) < 20  # of 160


def test_row_dated_centuries_ahead_does_not_age_the_label_history() -> None:
    """Beside it all others are so old that their weights, and so their shares, would vanish."""
    day = dt.date(2024, 1, 1)
    rows = [
        features_of(RawTransaction(merchant=f"SHOP {n % 3}", amount=-5.0, date=day))
        for n in range(90)
    ]
    typo = features_of(RawTransaction(merchant="TYPO", amount=-5.0, date=dt.date(2999, 1, 1)))
    labels = [f"Category {n % 3}" for n in range(90)]

    model = fit.fit([*rows, typo], [*labels, "Other"])

    assert np.isfinite(model.generator.history.proposed_share).all()
    assert [answer.label for answer in model.predict_many(rows[:3])] == labels[:3]


def labelled_by_habit(rows: int) -> tuple[list[FeatureRow], list[str]]:
    """Purchases at ten shops. Ada and bob label them alike, but for two: each has own words."""
    draw = random.Random(3)
    shops = [f"{draw.choice(('KRON', 'ZOR', 'PIX'))}{letter} STORE" for letter in "ABCDEFGHIJ"]
    found, labels = [], []
    for index in range(rows):
        user, shop = draw.choice(("ada", "bob", "eve")), draw.randrange(10)
        raw = RawTransaction(
            merchant=shops[shop],
            amount=-draw.uniform(5, 50),
            date=FIRST_DAY + dt.timedelta(days=index * 400 // rows),
            user_id=user,
        )
        found.append(features_of(raw))
        own = {"ada": "Materials", "bob": "Repairs"}.get(user, "Hardware")
        labels.append(own if shop < 2 else f"Category {shop % 4}")
    return found, labels


def test_users_who_label_a_shop_differently_each_get_their_own_label() -> None:
    rows, labels = labelled_by_habit(3_000)
    model = fit.fit(rows[:2_400], labels[:2_400])

    assert accuracy(model, rows[2_400:], labels[2_400:]) > 0.97


def test_unknown_user_gets_what_most_users_call_a_shop() -> None:
    rows, labels = labelled_by_habit(3_000)
    model = fit.fit(rows, labels)
    newcomers = [row._replace(user_id="newcomer") for row in rows[-300:]]
    is_shared = [label.startswith("Category") for label in labels[-300:]]

    found = [it.label for it in model.predict_many(newcomers)]

    pairs = zip(found, labels[-300:], is_shared, strict=True)
    assert all(label == expected for label, expected, shared in pairs if shared)


def test_stored_model_holds_no_id_of_a_user() -> None:
    rows, labels = labelled_by_habit(400)
    rows = [row._replace(user_id=f"{row.user_id}@example.org") for row in rows]

    files = fit.fit(rows, labels).to_files()

    assert not [name for name, content in files.items() if b"example.org" in content]
