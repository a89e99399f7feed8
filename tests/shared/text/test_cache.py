"""The caches of short texts: they save work, and stay within bounds."""

from __future__ import annotations

import random
import subprocess
import sys

from shared.features import brands, encoder, extract, taxonomy
from shared.features.extract import RawTransaction, features_of
from shared.model import label_history
from shared.model.candidates import encode_rows
from shared.text import channel_hints
from shared.text.cache import MAX_TEXT, cached

SIGNS = [chr(sign) for sign in range(0x4E00, 0x9000)]
CACHED_FUNCTIONS = [
    function
    for module in (brands, channel_hints, encoder, extract, label_history, taxonomy)
    for function in vars(module).values()
    if hasattr(function, "cache_info") and function.__module__ == module.__name__
]


def read(words: int, rows: int) -> None:
    """Rows of texts that never came before and never come again."""
    draw = random.Random(1)

    def text() -> str:
        return " ".join("".join(draw.choices(SIGNS, k=8)) for _ in range(words))

    for _ in range(rows):
        encode_rows([features_of(RawTransaction(merchant=text(), description=text()))], b"key")


def test_a_short_text_is_computed_once_and_a_long_one_each_time() -> None:
    calls: list[str] = []

    @cached(10)
    def upper(text: str) -> str:
        calls.append(text)
        return text.upper()

    long = "x" * (MAX_TEXT + 1)

    assert [upper(text) for text in ("a", "a", long, long)] == [
        "A",
        "A",
        long.upper(),
        long.upper(),
    ]
    assert calls == ["a", long, long]


def test_no_cache_holds_a_long_text_but_only_its_words() -> None:
    read(words=3, rows=1)  # tables are read, whatever the text
    for function in CACHED_FUNCTIONS:
        if function.cache_info().maxsize != 1:
            function.cache_clear()

    read(words=100, rows=5)

    sizes = {function.__name__: function.cache_info().currsize for function in CACHED_FUNCTIONS}
    assert {name for name, size in sizes.items() if size > 1} <= {"_word_key"}


def test_caches_of_a_process_stay_small_for_any_traffic() -> None:
    """In a process of its own: memory is seldom returned to the system."""
    code = (
        "import psutil\n"
        "from tests.shared.text.test_cache import read\n"
        "read(5, 10)\n"
        "before = psutil.Process().memory_info().rss\n"
        "read(5, 12_000)\n"
        "print((psutil.Process().memory_info().rss - before) // 10**6)\n"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert int(ran.stdout) < 40  # MB
