"""What the features step promises: one pure function, defined values, given wins over derived."""

from __future__ import annotations

import datetime as dt
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.features.extract import CHANNELS, FeatureRow, RawTransaction, features_of

SATURDAY = dt.date(2024, 3, 16)
MONDAY = dt.date(2024, 3, 18)


def test_empty_transaction_has_a_defined_value_for_every_feature() -> None:
    assert features_of(RawTransaction()) == FeatureRow(
        date=None,
        ts_month=None,
        amount=None,
        abs_amount=None,
        currency="",
        line="",
        merchant="",
        norm_desc="",
        channel="unknown",
        dow=-1,
        is_weekend=False,
        hour_of_day=-1,
        is_subscription=False,
        is_p2p=False,
        mcc="",
        account="",
        user_id="",
    )


def test_full_transaction_has_the_expected_feature_row() -> None:
    txn = RawTransaction(
        merchant="SQ *BLUE BOTTLE #12 OAKLAND CA",
        description="Coffee with team 03/16/2024",
        amount=-4.5,
        currency="usd",
        date=SATURDAY,
        hour_of_day=9,
        mcc="5814",
        account="card-1",
        user_id="u1",
    )

    assert features_of(txn) == FeatureRow(
        date=SATURDAY,
        ts_month=dt.date(2024, 3, 1),
        amount=-4.5,
        abs_amount=4.5,
        currency="USD",
        line="sq blue bottle 12 oakland ca",
        merchant="blue bottle",
        norm_desc="coffee with team",
        channel="pos",
        dow=5,
        is_weekend=True,
        hour_of_day=9,
        is_subscription=False,
        is_p2p=False,
        mcc="5814",
        account="card-1",
        user_id="u1",
    )


@pytest.mark.parametrize(
    ("amount", "abs_amount", "want"),
    [
        pytest.param(-12.5, None, (-12.5, 12.5), id="money out"),
        pytest.param(12.5, None, (12.5, 12.5), id="money in"),
        pytest.param(None, 10, (-10.0, 10.0), id="only a size: a purchase"),
        pytest.param(None, -10.0, (-10.0, 10.0), id="a size has no sign"),
        pytest.param(-5.0, 7.0, (-5.0, 7.0), id="both given stay"),
        pytest.param(None, 0.0, (0.0, 0.0), id="nothing"),
        pytest.param(-0.00001, None, (0.0, 0.0), id="four decimals"),
        pytest.param(0.1 + 0.2, None, (0.3, 0.3), id="as the database keeps it"),
        pytest.param(math.nan, None, (None, None), id="not a number"),
        pytest.param(math.inf, math.nan, (None, None), id="infinite"),
        pytest.param(-math.inf, 3.0, (-3.0, 3.0), id="size survives a bad amount"),
        pytest.param(10**400, None, (None, None), id="beyond any double"),
    ],
)
def test_amount_and_absolute_amount_complete_each_other(
    amount: float | None, abs_amount: float | None, want: tuple[float | None, float | None]
) -> None:
    row = features_of(RawTransaction(amount=amount, abs_amount=abs_amount))

    assert (row.amount, row.abs_amount) == want
    assert row.amount is None or math.copysign(1, row.amount) == (-1 if row.amount < 0 else 1)


@pytest.mark.parametrize(
    ("txn", "field", "want"),
    [
        (RawTransaction(description="X Y", norm_desc="Own Words"), "norm_desc", "own words"),
        (RawTransaction(merchant="A SHOP", description="B SHOP"), "merchant", "a shop"),
        (RawTransaction(date=SATURDAY, dow=2), "dow", 2),
        (RawTransaction(date=SATURDAY, is_weekend=False), "is_weekend", False),
        (RawTransaction(dow=0, is_weekend=True), "is_weekend", True),
        (RawTransaction(merchant="NETFLIX", is_subscription=False), "is_subscription", False),
        (RawTransaction(merchant="BAKER", is_subscription=True), "is_subscription", True),
        (RawTransaction(merchant="NETFLIX", channel="Point of Sale"), "channel", "pos"),
        (RawTransaction(description="ATM", channel="carrier pigeon"), "channel", "other"),
        (RawTransaction(description="ATM", channel="unknown"), "channel", "unknown"),
        (RawTransaction(amount=-5.0, abs_amount=7.0), "abs_amount", 7.0),
    ],
)
def test_given_value_takes_precedence_over_a_derived_one(
    txn: RawTransaction, field: str, want: object
) -> None:
    assert getattr(features_of(txn), field) == want


@pytest.mark.parametrize(
    ("txn", "field", "want"),
    [
        (RawTransaction(description="POS REWE 1234"), "merchant", "rewe"),
        (RawTransaction(norm_desc="rewe 1234"), "merchant", "rewe"),
        (RawTransaction(merchant=" \x00", description="REWE"), "merchant", "rewe"),
        (RawTransaction(date=MONDAY), "dow", 0),
        (RawTransaction(date=MONDAY, dow=9), "dow", 0),
        (RawTransaction(date=SATURDAY), "is_weekend", True),
        (RawTransaction(dow=6), "is_weekend", True),
        (RawTransaction(hour_of_day=0), "hour_of_day", 0),
        (RawTransaction(hour_of_day=24), "hour_of_day", -1),
        (RawTransaction(currency=" eur "), "currency", "EUR"),
        (RawTransaction(currency="€"), "currency", ""),
        (RawTransaction(mcc="742"), "mcc", "0742"),
        (RawTransaction(mcc="n/a"), "mcc", ""),
        (RawTransaction(account="a\x00b\ud800"), "account", "a b"),
        (RawTransaction(merchant="BAKER", channel="  "), "channel", "pos"),
        (RawTransaction(merchant="BAKER", amount=20.0), "channel", "unknown"),
        (RawTransaction(merchant="ACME PAYROLL", amount=900.0), "channel", "deposit"),
        (RawTransaction(description="hall deposit", amount=-90.0), "channel", "pos"),
    ],
)
def test_missing_or_impossible_value_is_derived(
    txn: RawTransaction, field: str, want: object
) -> None:
    assert getattr(features_of(txn), field) == want


@pytest.mark.parametrize(
    ("text", "channel"),
    [
        ("ATM WITHDRAWAL 1234 MAIN ST", "atm"),
        ("GELDAUTOMAT 12.03. SPARKASSE", "atm"),
        ("RETRAIT DAB PARIS", "atm"),
        ("CAJERO AUTOMATICO", "atm"),
        ("GELDOPNAME ING", "atm"),
        ("ATM FEE", "fee"),
        ("FRAIS BANCAIRES", "fee"),
        ("Kontoführung Entgeltabschluss", "fee"),
        ("INTEREST CHARGED ON PURCHASES", "interest"),
        ("Zinsen", "interest"),
        ("CHEQUE 00123", "check"),
        ("SEPA-LASTSCHRIFT STADTWERKE", "direct_debit"),
        ("PRLV SEPA EDF", "direct_debit"),
        ("DIRECT DEBIT BRITISH GAS", "direct_debit"),
        ("ADDEBITO SDD ENEL", "direct_debit"),
        ("VIREMENT DE MME DUPONT", "transfer"),
        ("ÜBERWEISUNG MIETE", "transfer"),
        ("BONIFICO A ROSSI", "transfer"),
        ("ONLINE PURCHASE", "online"),
        ("www.bookshop.co.uk", "online"),
        ("NÓMINA EMPRESA", "deposit"),
        ("CORNER BAKERY", "pos"),
        ("ART COURSE FEE", "pos"),
        ("CHECK ENGINE GARAGE", "pos"),
    ],
)
def test_the_channel_is_read_from_the_words_of_the_bank(text: str, channel: str) -> None:
    assert features_of(RawTransaction(description=text)).channel == channel
    assert features_of(RawTransaction(merchant=text)).channel == channel


@pytest.mark.parametrize(
    ("text", "is_p2p"),
    [
        ("ZELLE PAYMENT TO JOHN", True),
        ("VENMO *JANE", True),
        ("CASH APP*MIKE", True),
        ("INTERAC E-TRANSFER SENT", True),
        ("BIZUM A MARIA", True),
        ("Revolut transfer from Ana", True),
        ("APPLE CASH SENT", True),
        ("PAYPAL FRIENDS AND FAMILY", True),
        ("SQ *COFFEE", False),
        ("PAYPAL *EBAY", False),
        ("APPLE STORE", False),
        ("CASH WITHDRAWAL", False),
    ],
)
def test_person_to_person_payment_is_detected(text: str, is_p2p: bool) -> None:
    row = features_of(RawTransaction(merchant=text))

    assert row.is_p2p is is_p2p
    assert (row.channel == "p2p") is is_p2p


@pytest.mark.parametrize(
    ("text", "recurring"),
    [
        ("NETFLIX.COM 866-579-7172", True),
        ("APPLE.COM/BILL", True),
        ("MICROSOFT*OFFICE 365", True),
        ("AMAZON PRIME*A12BC3D45", True),
        ("PLANET FITNESS #123", True),
        ("Zeitungs-Abonnement", True),
        ("DAUERAUFTRAG MIETE", True),
        ("annual membership", True),
        ("INSURANCE PREMIUM", True),
        ("TRAVEL INSURANCE", False),
        ("AMAZON.CA*M01B59M21", False),
        ("APPLE STORE", False),
    ],
)
def test_recurring_payment_is_detected(text: str, recurring: bool) -> None:
    assert features_of(RawTransaction(merchant=text)).is_subscription is recurring


_TEXT = st.none() | st.text(st.characters(codec=None), max_size=30)
_TXN = st.builds(
    RawTransaction,
    merchant=_TEXT,
    description=_TEXT,
    norm_desc=_TEXT,
    amount=st.none() | st.floats() | st.integers(),
    abs_amount=st.none() | st.floats(),
    currency=_TEXT,
    date=st.none() | st.dates(),
    dow=st.none() | st.integers(),
    is_weekend=st.none() | st.booleans(),
    hour_of_day=st.none() | st.integers(),
    channel=_TEXT,
    is_subscription=st.none() | st.booleans(),
    mcc=_TEXT,
    account=_TEXT,
    user_id=_TEXT,
)


@settings(max_examples=200, deadline=None)
@given(_TXN)
def test_any_transaction_gives_values_that_the_database_can_hold(txn: RawTransaction) -> None:
    row = features_of(txn)

    assert row.channel in CHANNELS
    assert -1 <= row.dow <= 6
    assert -1 <= row.hour_of_day <= 23
    assert (row.amount is None) == (row.abs_amount is None)
    assert row.amount is None or math.isfinite(row.amount)
    assert row.abs_amount is None or row.abs_amount >= 0
    assert row.is_weekend is txn.is_weekend or txn.is_weekend is None
    for value in row:
        if isinstance(value, str):
            assert "\x00" not in value
            value.encode("utf-8")


@settings(max_examples=100, deadline=None)
@given(st.lists(_TXN, max_size=5))
def test_a_row_depends_on_its_transaction_alone(txns: list[RawTransaction]) -> None:
    alone = [features_of(txn) for txn in txns]
    reversed_order = [features_of(txn) for txn in reversed(txns)]

    assert alone == reversed_order[::-1]


@settings(max_examples=100, deadline=None)
@given(_TXN)
def test_cleaned_text_given_back_as_input_stays_as_it_is(txn: RawTransaction) -> None:
    row = features_of(txn)
    again = txn._replace(merchant=row.merchant, norm_desc=row.norm_desc, channel=row.channel)

    assert features_of(again)._replace(line=row.line)[:9] == row[:9]
