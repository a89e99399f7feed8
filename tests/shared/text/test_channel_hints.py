"""Hints of the payment channel in a bank line."""

from __future__ import annotations

import pytest

from shared.text.channel_hints import CHANNELS, NO_HINTS, detect_hints, find_channel
from shared.text.normalize import clean_description


@pytest.mark.parametrize(
    ("line", "channel"),
    [
        ("ATM WITHDRAWAL 123 MAIN ST", "atm"),
        ("INTEREST PAYMENT", "interest"),
        ("BEAN HOUSE", ""),
        ("atmosphere lighting", ""),
    ],
)
def test_channel_is_read_from_whole_words(line: str, channel: str) -> None:
    assert detect_hints(clean_description(line)).channel == channel


def test_line_without_hints_has_none() -> None:
    assert detect_hints("bean house") == NO_HINTS


def test_recurring_payment_is_a_hint_of_its_own() -> None:
    assert detect_hints(clean_description("KRONTAL SUBSCRIPTION")).is_subscription
    assert not detect_hints(clean_description("KRONTAL PURCHASE")).is_subscription


def test_given_name_stands_for_one_of_the_channels() -> None:
    found = [find_channel(name) for name in ("ATM", "Point of Sale", "carrier pigeon", "  ")]

    assert found == ["atm", "pos", "other", ""]
    assert set(found) - {""} <= set(CHANNELS)
