"""The settings of a process, read from its environment once, here and nowhere else."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import Field, TypeAdapter

from shared.errors import SettingsError

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
_THRESHOLDS = TypeAdapter(dict[str, Annotated[float, Field(ge=0, le=1)]])
_NAMES = TypeAdapter(tuple[Annotated[str, Field(min_length=1)], ...])
T = TypeVar("T")
TOKEN_MIN = 16  # characters; a shorter token can be guessed
TOKEN_VARIETY = 8  # different characters; changemechangeme has seven
# A share of users as a regular expression: 0 is none, 1 is all, 1% is one hundredth.
SHARE = r"(?:[01]|100(?:\.0{1,6})?%|[0-9]{1,2}(?:\.[0-9]{1,6})?%)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One API token and what its bearer may do: `predict`, or `admin`, which includes it."""

    scope: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Frozen settings. A bad value stops the process, with a message that names the variable."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    registry_dir: Path
    registry_keep: int  # versions beside those that are live, previous or being read
    retire_days: int  # after a user is deleted, for versions that may have learned from them
    deploy_threshold_f1: float  # validation macro-F1, 0..1; a run below it is stored, not deployed
    shared_label_users: int  # who use a label before others are told it; 1: all labels are shared
    shared_labels: tuple[str, ...]  # these are, whoever uses them
    min_labels: int  # labelled transactions needed before training starts
    retrain_labels: int  # new human labels that bring training forward; 0: never
    train_timeout_s: int
    train_memory_mb: int
    web_host: str
    web_port: int
    web_processes: int
    web_threads: int  # per process
    api_auth: bool
    api_tokens: tuple[Token, ...]
    suggest_canary: float  # share of users in the model arm until an admin first changes it, 0..1
    suggest_shadow: bool  # run the model, without showing it, also where rules answer
    suggest_salt: str  # key of the hash that assigns users to arms
    suggest_target_precision: float  # share of shown suggestions that should be right, 0..1
    suggest_thresholds: Mapping[str, float]  # by category, or `*`; instead of the learned ones
    links: Mapping[str, str]  # by name: other pages that the dashboard links to
    log_level: str

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read every setting.

        Raises:
            SettingsError: a variable is missing or not of the documented form; it is named.
        """
        try:
            return cls(
                database_url=_database_url(env["DATABASE_URL"]),
                redis_url=env["REDIS_URL"],
                registry_dir=Path(
                    env.get("ML_REGISTRY_DIR", "/app/models/ledger_suggestions")
                ).absolute(),
                registry_keep=_whole_number(env, "ML_REGISTRY_KEEP", 10, low=1),
                retire_days=_whole_number(env, "ML_RETIRE_DAYS", 30, low=1, high=3650),
                deploy_threshold_f1=_read(env, "ML_DEPLOY_THRESHOLD_F1", "0.72", _share),
                shared_label_users=_whole_number(env, "ML_SHARED_LABEL_USERS", 3, low=1),
                shared_labels=_read(env, "ML_SHARED_LABELS", "[]", _names),
                min_labels=_whole_number(env, "ML_MIN_LABELS", 20, low=2),
                retrain_labels=_whole_number(env, "ML_RETRAIN_LABELS", 50, low=0),
                train_timeout_s=_whole_number(env, "ML_TRAIN_TIMEOUT_S", 3600, low=10),
                train_memory_mb=_whole_number(env, "ML_TRAIN_MEMORY_MB", 8192, low=640),
                web_host=env.get("WEB_HOST", "127.0.0.1"),
                web_port=_whole_number(env, "WEB_PORT", 8000, low=1, high=65535),
                web_processes=_whole_number(env, "WEB_PROCESSES", 2, low=1, high=256),
                web_threads=_whole_number(env, "WEB_THREADS", 4, low=1, high=256),
                api_auth=_word(env, "API_AUTH", "on", ("on", "off")) == "on",
                api_tokens=_tokens(env.get("API_TOKENS", "")),
                suggest_canary=_read(env, "SUGGEST_USE_MODEL_CANARY", "0", _share_of_users),
                suggest_shadow=_word(env, "SUGGEST_ENABLE_SHADOW", "1", ("0", "1")) == "1",
                suggest_salt=env.get("SUGGEST_SALT", "").strip() or "ledger-suggestions",
                suggest_target_precision=_read(env, "SUGGEST_TARGET_PRECISION", "0.9", _share),
                suggest_thresholds=_read(env, "SUGGEST_THRESHOLDS", "{}", _thresholds),
                links=_links(env, Flower="FLOWER_URL", Grafana="GRAFANA_URL"),
                log_level=_word(env, "LOG_LEVEL", "info", ("debug", "info", "warning", "error")),
            )
        except KeyError as missing:
            raise SettingsError(f"{missing.args[0]} is not set") from None

    def require_auth(self) -> None:
        """Refuse to serve an API without access control.

        Raises:
            SettingsError: no token is configured, and API_AUTH=off is not given on loopback.
        """
        if self.api_auth and not self.api_tokens:
            raise SettingsError(
                "API_TOKENS is not set: give tokens as 'predict:SECRET,admin:SECRET', "
                "or API_AUTH=off on a loopback address"
            )
        if not self.api_auth and self.web_host not in LOOPBACK_HOSTS:
            raise SettingsError(
                f"API_AUTH=off is for a loopback address only, and WEB_HOST is {self.web_host}"
            )


@lru_cache(maxsize=1)
def process_settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: as `Settings.from_env`.
    """
    return Settings.from_env(os.environ)


def command_settings() -> Settings:
    """The settings of a command in a shell, where REDIS_URL may be absent: it needs no queue."""
    return Settings.from_env({"REDIS_URL": "-", **os.environ})


def metrics_folder() -> Path | None:
    """Where the processes share their counters, or None if each counts alone.

    The Prometheus client reads the same variable when it is imported, before any other setting.
    """
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(folder) if folder else None


def share_of(text: str) -> float:
    """`0`, `1` or `N%` as a number from 0 to 1; ValueError if it is of another form."""
    if not re.fullmatch(SHARE, text):
        raise ValueError(f"{text!r} is none of 0, 1 and N%")
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def _database_url(url: str) -> str:
    """Add the driver to the URL; `postgres://` and a scheme without a driver are common."""
    match = re.fullmatch(r"postgres(?:ql)?(?:\+psycopg2)?://(.+)", url)
    if not match:
        raise SettingsError("DATABASE_URL must be a postgresql:// address")
    return f"postgresql+psycopg2://{match[1]}"


def _read(env: Mapping[str, str], name: str, default: str, parse: Callable[[str], T]) -> T:
    """Parse a variable, or the default if it is empty; what *parse* raises says what is needed."""
    text = env.get(name, "").strip() or default
    try:
        return parse(text)
    except ValueError as error:
        raise SettingsError(f"{name} must be {error}, not {text!r}") from None


def _whole_number(
    env: Mapping[str, str], name: str, default: int, *, low: int, high: int = 2**31 - 1
) -> int:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,10}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return _read(env, name, str(default), parse)


def _word(env: Mapping[str, str], name: str, default: str, words: tuple[str, ...]) -> str:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return text.lower()

    return _read(env, name, default, parse)


def _share(text: str) -> float:
    with suppress(ValueError):
        if 0.0 <= float(text) <= 1.0:
            return float(text)
    raise ValueError("a number from 0 to 1")


def _share_of_users(text: str) -> float:
    with suppress(ValueError):
        return share_of(text)
    raise ValueError("0 (nobody), 1 (everybody) or N% with N from 0 to 100")


def _thresholds(text: str) -> Mapping[str, float]:
    with suppress(ValueError):
        return _THRESHOLDS.validate_json(text, strict=True)
    raise ValueError(
        'a JSON object of categories (or *) and numbers 0 to 1, such as {"Rent": 0.95, "*": 0.8}'
    )


def _names(text: str) -> tuple[str, ...]:
    with suppress(ValueError):
        return _NAMES.validate_json(text, strict=True)
    raise ValueError('a JSON list of categories, such as ["Groceries", "Rent"]')


def _links(env: Mapping[str, str], **names: str) -> Mapping[str, str]:
    """Return the addresses that are set, by title."""
    links = {title: url for title, name in names.items() if (url := env.get(name, "").strip())}
    for title, url in links.items():
        if not re.fullmatch(r"https?://[^\s\"'<>]+", url):
            raise SettingsError(f"{names[title]} must be an http:// or https:// address")
    return links


def _tokens(text: str) -> tuple[Token, ...]:
    """Tokens from `scope:secret,scope:secret`; several of a scope, so that they can be rotated."""
    tokens = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        scope, _, secret = item.partition(":")
        if scope not in ("predict", "admin"):
            raise SettingsError("API_TOKENS: each token is 'predict:SECRET' or 'admin:SECRET'")
        if len(secret) < TOKEN_MIN or not secret.isascii() or not secret.isprintable():
            raise SettingsError(
                f"API_TOKENS: a secret needs at least {TOKEN_MIN} printable ASCII characters"
            )
        if len(set(secret.lower())) < TOKEN_VARIETY:
            raise SettingsError(
                f"API_TOKENS: a secret needs at least {TOKEN_VARIETY} different characters; "
                "`make env` draws good ones"
            )
        tokens.append(Token(scope=scope, secret=secret))
    if len({token.secret for token in tokens}) < len(tokens):
        raise SettingsError("API_TOKENS: each token needs a secret of its own")
    return tuple(tokens)
