# One image for web, worker, beat, Flower and the migration; docker-compose.yml says which is which.

FROM python:3.11.15-slim-bookworm AS packages
# Wheels only, each with its hash: no package is compiled, and none comes that the lock does not name.
COPY requirements/runtime.lock /tmp/runtime.lock
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary=:all: -r /tmp/runtime.lock \
    # A fifth of all that is the packages' own tests.
    && find /opt/venv/lib/python3.11/site-packages/scipy /opt/venv/lib/python3.11/site-packages/pandas \
        /opt/venv/lib/python3.11/site-packages/sklearn -type d -name tests -prune -exec rm -r {} +

# The one thing that is compiled: the inner loops of a prediction.
FROM python:3.11.15-slim-bookworm AS kernel
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY shared/native/build.py shared/native/kernel.c shared/native/
RUN python shared/native/build.py && test -e shared/native/libkernel.so

FROM python:3.11.15-slim-bookworm
LABEL org.opencontainers.image.title="Ledger Suggestions" \
      org.opencontainers.image.description="Suggests the category of every bank or card transaction" \
      org.opencontainers.image.licenses="MIT"

# LightGBM's wheel needs the system's OpenMP. Debian keeps only the newest build of a package, so a
# version written here would stop building with the next security update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 ledger \
    && useradd --system --uid 10001 --gid ledger --no-create-home --home-dir /tmp \
        --shell /usr/sbin/nologin ledger \
    # New volumes mounted here take over their owner from these folders.
    && install -d -o ledger -g ledger /app/models/ledger_suggestions/versions \
        /app/models/ledger_suggestions/deploy /app/state

COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY celeryconfig.py LICENSE ./
COPY deploy/healthcheck.py deploy/
COPY shared shared
COPY --from=kernel /build/shared/native/libkernel.so shared/native/
COPY web web
COPY worker worker

# Written at run time: /tmp, and the volumes in models and state. All else may be read-only.
ENV PATH="/opt/venv/bin:$PATH" \
    HOME=/tmp \
    TZ=UTC \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 \
    MALLOC_ARENA_MAX=1 \
    OPENBLAS_NUM_THREADS=1 \
    ML_REGISTRY_DIR=/app/models/ledger_suggestions \
    WEB_HOST=0.0.0.0 \
    WEB_PORT=8000
# With no file to write, each start would compile all modules anew.
RUN python -m compileall -q celeryconfig.py deploy shared web worker

USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-m", "deploy.healthcheck", "web"]
CMD ["python", "-m", "web"]
