"""The switch interval of the interpreter, shorter while a model loads."""

from __future__ import annotations

import sys

import pytest

from shared.registry.gil import short_switch_interval


def test_switch_interval_is_restored_after_the_last_load():
    usual = sys.getswitchinterval()

    with short_switch_interval():
        with short_switch_interval():
            pass
        during = sys.getswitchinterval()

    assert during == pytest.approx(usual / 10)
    assert sys.getswitchinterval() == pytest.approx(usual)
