"""Collectors: who was paid with, and not who was paid."""

from __future__ import annotations

import pytest

from shared.features.extract import RawTransaction, features_of
from shared.text.collectors import is_collector


@pytest.mark.parametrize(
    "printed",
    [
        "PayPal", "PAYPAL (EUROPE) S.A.R.L. ET CIE", "Klarna Bank AB", "SQ *", "SumUp", "Apple Pay",
        "Mercado Pago", "支付宝", "Venmo", "Card payment", "VISA PURCHASE", "Direct debit",
        "Kartenzahlung", "Bank transfer", "paiement par carte",
    ],
)  # fmt: skip
def test_payment_services_and_kinds_of_payment_are_collectors(printed: str) -> None:
    assert is_collector(features_of(RawTransaction(merchant=printed)).merchant)


@pytest.mark.parametrize(
    "printed",
    ["", "PAYPAL *SPOTIFY", "SQ *COFFEE HUT", "Square Enix", "Amazon", "Bank of Montreal", "Visa"],
)
def test_shops_are_none_even_behind_a_payment_service(printed: str) -> None:
    assert not is_collector(features_of(RawTransaction(merchant=printed)).merchant)
