"""A bounded LRU cache for functions of short texts.

The sizes are measured: of 60,000 invented bank lines, 64 % were among the last 8,192 and 67 % among
the last 32,768; of cleaned merchants 94 % among 4,096. Most long texts are sentences that come
once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

MAX_TEXT = 100  # characters; calls with a longer text are not cached

F = TypeVar("F", bound=Callable[..., Any])


def cached(max_size: int) -> Callable[[F], F]:
    """As lru_cache, for a function of a text and of short arguments; long texts are not cached."""

    def decorate(function: F) -> F:
        cached_function = lru_cache(maxsize=max_size)(function)

        @wraps(function)
        def call(text: str, *short: str | bytes) -> Any:
            return (cached_function if len(text) <= MAX_TEXT else function)(text, *short)

        call.cache_info = cached_function.cache_info  # type: ignore[attr-defined]
        call.cache_clear = cached_function.cache_clear  # type: ignore[attr-defined]
        return cast("F", call)

    return decorate
