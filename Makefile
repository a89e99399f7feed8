# Everything one does with this project, by one command each: `make help`.
# Nothing is needed but python3 (3.11 or newer) and make; all else comes into .venv from the lock.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
# ARGS is for the command that was called, not for a make that a test of it runs.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV MAKEFLAGS MFLAGS MAKELEVEL ARGS

# The first Python that is new enough; `make PYTHON=/path/to/python3 …` names another one.
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$name $(NEW_ENOUGH) >/dev/null 2>&1 && echo $$name && break; done)
VENV_PYTHON := .venv/bin/python
DAYS ?= 180
UV ?= uv
BENCH ?=
ARGS ?=
# Not every shell expands the `~` in CSV=~/Downloads/bank.csv.
CSV_PATH = $$(case "$$CSV" in "~/"*) printf '%s' "$$HOME/$${CSV\#*/}";; *) printf '%s' "$$CSV";; esac)
OUT_PATH = $$(case "$$OUT" in "~/"*) printf '%s' "$$HOME/$${OUT\#*/}";; *) printf '%s' "$$OUT";; esac)

# Python where native libraries are found, and each process computes on one core.
COMPUTE = LD_LIBRARY_PATH="$$($(VENV_PYTHON) -m local.stack.openmp)" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(VENV_PYTHON)
TESTS = $(COMPUTE) -m pytest

.PHONY: help demo up down logs status test test-programs attack chaos check bench bench-beside bench-quality docs-quality import categorize dbt
.PHONY: csv sample env audit licences lock venv venv-dev
.PHONY: ml-features ml-train ml-status ml-predict ml-explain ml-smoke

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

demo: venv ## From nothing to a live prediction: stack, sample data, training, results, addresses
	@$(VENV_PYTHON) -m local.demo

up: venv ## Start PostgreSQL, Redis, web, workers, beat and Flower in the background
	@$(VENV_PYTHON) -m local.stack up

down: ## Stop all of that; the data are kept
	@if [ -x $(VENV_PYTHON) ]; then $(VENV_PYTHON) -m local.stack down; \
	else echo "There is no .venv, so nothing is running."; fi

logs: venv ## The end of every log; ARGS="web -f" follows one of them
	@$(VENV_PYTHON) -m local.stack logs $(ARGS)

status: venv ## Process, port and address of each part of the stack
	@$(VENV_PYTHON) -m local.stack status || true

test: venv-dev ## All tests, on PostgreSQL and Redis of their own; ARGS="-k word" picks some
	@export SKIPPED_FILE=var/skipped.txt; rm -f "$$SKIPPED_FILE"; status=0; \
	{ $(if $(ARGS),$(TESTS) $(ARGS),$(TESTS) -m "not system" -n logical --maxprocesses 4 --dist loadfile && \
		$(TESTS) -m system); } || status=$$?; \
	$(VENV_PYTHON) -m tests.support.skipped; exit $$status # `system`: whole services, one test at a time

test-programs: venv-dev .venv-dbt/made ## Install what some tests need and no wheel has: Chromium, Prometheus, HAProxy, dbt
	@.ci/packages

attack: venv-dev ## The attacks with more hostile requests: make attack [ATTACKS=12000 SEED=7]
	@ATTACKS="$(or $(ATTACKS),12000)" ATTACK_SEED="$(or $(SEED),0)" \
		$(TESTS) -s --timeout 1800 tests/attacks tests/web/http/test_openapi.py $(ARGS)

chaos: venv-dev ## Faults under load, half an hour: make chaos [QUICK=1 SEED=7 SOAK=300]; writes docs/reliability.md
	@CHAOS="$(if $(QUICK),quick,full)" CHAOS_SEED="$(SEED)" CHAOS_SOAK="$(SOAK)" \
		$(TESTS) --show-capture=no tests/chaos $(ARGS)

check: venv-dev ## Lint, format, types and import rules
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy
	$(VENV_PYTHON) -c 'import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())'

bench: venv-dev ## The benchmarks; BENCH=name picks one
	@$(COMPUTE) -m benchmarks $(BENCH) $(ARGS)

bench-beside: venv-dev ## Speed beside another revision: make bench-beside BASE=HEAD~3 [BENCH=serving|suggest|training|features]
	@test -n "$(BASE)" || { echo "Which revision? make bench-beside BASE=HEAD~3" >&2; exit 2; }
	@$(COMPUTE) -m benchmarks.beside "$(BASE)" $(BENCH) $(ARGS)

bench-quality: venv-dev ## Suggestions beside baselines: make bench-quality CSV=labelled.csv [ARGS="--few 100,300"]
	@$(COMPUTE) -m benchmarks.quality $(if $(CSV),"$(CSV_PATH)") $(ARGS)

docs-quality: venv-dev ## Measure quality again and write its pages: make docs-quality DATA=folder [ARGS=--keep-cost]
	@test -d "$(DATA)" || { echo "Which folder of CSVs? make docs-quality DATA=path/to/folder" >&2; exit 2; }
	@$(COMPUTE) -m benchmarks.quality.everything "$(DATA)" --results var/quality $(ARGS)
	@$(VENV_PYTHON) -m benchmarks.quality.page var/quality/*.jsonl

sample: venv ## Write made-up statements to try things with: make sample CSV=path
	@test -n "$$CSV" || { echo "Where to? make sample CSV=path/to/new.csv" >&2; exit 2; }
	@$(VENV_PYTHON) -m local.demo.sample "$(CSV_PATH)"

import: csv venv ## Load a bank's CSV: make import CSV=path [ARGS="--map field=column"]
	@$(VENV_PYTHON) -m local.stack run -- $(VENV_PYTHON) -m worker.ingest "$(CSV_PATH)" $(ARGS)

categorize: csv venv ## A copy of a bank's CSV with categories: make categorize CSV=path [OUT=path ARGS="--user anna"]
	@$(VENV_PYTHON) -m local.stack run -- $(VENV_PYTHON) -m worker.categorize "$(CSV_PATH)" $(if $(OUT),--out "$(OUT_PATH)") $(ARGS)

# Looked at first: without the file, neither the environment nor the stack is needed.
csv:
	@test -n "$$CSV" || { echo "Which file? Say CSV=path/to/bank.csv" >&2; exit 2; }
	@test "$$CSV" = - || test -r "$(CSV_PATH)" || { echo "$$CSV cannot be read: is there such a file?" >&2; exit 2; }

dbt: venv .venv-dbt/made ## Build and test the warehouse (schema analytics) in the stack's database
	@$(VENV_PYTHON) -m local.stack run -- .venv-dbt/bin/python warehouse/build.py $(ARGS)

# dbt pins much that the service does not, so it has an environment of its own.
.venv-dbt/made: requirements/dbt.lock | venv
	@echo "Installing requirements/dbt.lock into .venv-dbt."
	@rm -rf .venv-dbt
	@$(VENV_PYTHON) -m venv --without-pip .venv-dbt
	@$(VENV_PYTHON) -m pip --python .venv-dbt/bin/python install --quiet --disable-pip-version-check \
		--require-hashes --only-binary=:all: --no-deps -r $<
	@touch $@

ml-features: venv ## Have features built for the last DAYS=180 days, by the service at BASE_URL
	@$(VENV_PYTHON) -m local.client features --days "$(DAYS)"

ml-train: venv ## Have a model trained, follow the job, print its result as JSON
	@$(VENV_PYTHON) -m local.client train

ml-status: venv ## The model that is live
	@$(VENV_PYTHON) -m local.client status

ml-predict: venv ## Predict one example
	@$(VENV_PYTHON) -m local.client predict

# Each word is read by the shell from the environment, whatever quotes or dollars it has.
ml-explain: venv ## What moved a prediction: make ml-explain MERCHANT="TIM HORTONS #2392" [DESCRIPTION=… AMOUNT=-4.50], or TXN=id
	@$(VENV_PYTHON) -m local.client explain $${TXN:+"--txn-id=$$TXN"} $${MERCHANT+"--merchant=$$MERCHANT"} \
		$${DESCRIPTION+"--description=$$DESCRIPTION"} $${AMOUNT:+"--amount=$$AMOUNT"} $(ARGS)

ml-smoke: venv ## Health, model and a prediction of the service at BASE_URL; fails if one is not well
	@$(VENV_PYTHON) -m local.client smoke

audit: ## Ask for known faults of what the lock names (needs uv and the internet)
	$(UV) tool run pip-audit==2.10.1 --strict --disable-pip --require-hashes -r requirements/runtime.lock

licences: venv-dev ## Write docs/licences.md: the licence of each package in the lock (needs uv)
	@printf '# Licences\n\nWhat `requirements/runtime.lock` installs, by `make licences`.\n\n' > docs/licences.md
	@$(UV) tool run pip-licenses==5.5.5 --python $(VENV_PYTHON) --format=markdown --order=name --no-version --with-system \
		--packages $$(sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' requirements/runtime.lock) >> docs/licences.md

env: ## Write .env for docker compose, with new random secrets; one that is there stays
	@$(PYTHON) local/setup/env_file.py

lock: ## Resolve pyproject.toml anew into requirements/*.lock (needs uv; ARGS=--upgrade for newer versions)
	$(call resolve,runtime,)
	$(call resolve,local,--extra local)
	$(call resolve,dev,--extra local --extra dev)
	$(call resolve,dbt,,warehouse/requirements.in)

define resolve
$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate \
	--no-header --python-version 3.11 $(2) $(ARGS) $(or $(3),pyproject.toml) -o requirements/$(1).lock
endef

venv venv-dev:
	@python="$(PYTHON)"; \
	test -n "$$python" || { echo "Python 3.11 or newer is needed; python3 here is: $$(python3 --version 2>&1)." \
		"Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }; \
	"$$python" $(NEW_ENOUGH) 2>/dev/null || { echo "PYTHON=$$python is not Python 3.11 or newer." >&2; exit 1; }; \
	"$$python" local/setup/venv.py $(if $(filter venv-dev,$@),dev,local) && "$$python" shared/native/build.py
