# Needs git, make and Python 3.11 or later. Everything else is installed into .venv.
# Works with GNU make 3.81, which macOS ships: no grouped targets, no .ONESHELL.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test check bench faults pictures clean

PY := .venv/bin/python
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input
ENOUGH := import sys; raise SystemExit(sys.version_info < (3, 11))

help: ## Show this list
	@echo "Landslide"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/  make \1  \2/p' Makefile | awk '{ $$2 = sprintf("%-8s", $$2) } { print "  " $$0 }'
	@echo "  HOST, PORT and DATA_DIR can be set: make run HOST=0.0.0.0 PORT=9000"

run: .venv/installed ## Install missing packages and serve with a demo poll; Ctrl-C stops
	@exec $(PY) manage.py serve --prepare

test: .venv/installed-dev ## Run all tests, on real PostgreSQL, Redis and Chromium
	@$(PY) -m tests.install
	@exec $(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# Checks get a data folder of their own, so that they never touch a database in use.
check: .venv/installed-dev ## Check linting, formatting, types, layers, Django, migrations
	@set -e; \
	DATA_DIR=$$(mktemp -d); export DATA_DIR; trap 'rm -rf "$$DATA_DIR"' EXIT; \
	unset DATABASE_URL REDIS_URL DJANGO_SETTINGS_MODULE; \
	echo "ruff";         .venv/bin/ruff check --quiet .; .venv/bin/ruff format --quiet --check .; \
	echo "import-linter"; .venv/bin/lint-imports --no-logo >"$$DATA_DIR/layers" 2>&1 || { cat "$$DATA_DIR/layers"; exit 1; }; \
	echo "mypy";         $(PY) -m mypy; \
	echo "django";       $(PY) manage.py check --fail-level WARNING; \
	echo "migrations";   $(PY) manage.py makemigrations --check --dry-run

bench: .venv/installed-bench ## Measure Landslide against its peers; BENCH=--quick or BENCH="ingest batch"
	@exec $(PY) -m benchmarks $(BENCH)

faults: .venv/installed-dev ## Kill, freeze and cut off parts of running systems; FAULTS="worker" for some rows
	@$(PY) -m tests.install
	@exec $(PY) -m tests.faults $(FAULTS)

pictures: .venv/installed-dev ## Take and draw the pictures of the docs again
	@$(PY) -m tests.install
	@exec $(PY) -m tests.docs.pictures

clean: ## Remove .venv and caches; ballots in data/ stay
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "Removed .venv and caches. Polls and ballots in $${DATA_DIR:-data} are kept: delete that folder to start over."

# --- the virtual environment: created once, updated when the pins change ---

.venv/installed: requirements.txt | .venv/bin/python
	@echo "Installing Landslide's packages into .venv (about half a minute) ..."
	@$(PIP) -r requirements.txt
	@touch $@

.venv/installed-dev: requirements.txt requirements-dev.txt | .venv/bin/python
	@echo "Installing packages for tests and checks into .venv (about a minute) ..."
	@$(PIP) -r requirements-dev.txt
	@touch .venv/installed $@

.venv/installed-bench: benchmarks/requirements.txt .venv/installed-dev
	@echo "Installing the bench's own packages into .venv (a few seconds) ..."
	@$(PIP) -r benchmarks/requirements.txt
	@touch $@

# Use the first Python that is new enough *and* runs: a version manager's shim may exist and fail.
# Remove an interrupted .venv, because make would take it for a complete one.
.venv/bin/python:
	@for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 python; do \
	    "$$candidate" -c '$(ENOUGH)' >/dev/null 2>&1 || continue; \
	    found=$$candidate; \
	    "$$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1 || continue; \
	    echo "Making .venv with $$("$$candidate" -V) ..."; \
	    trap 'rm -rf .venv; exit 1' INT TERM HUP; \
	    "$$candidate" -m venv --clear .venv && exit 0; \
	    rm -rf .venv; exit 1; \
	done; \
	if [ -n "$$found" ]; then \
	    echo "$$found cannot make virtual environments: its module ensurepip or venv is missing."; \
	    echo "On Debian and Ubuntu: apt-get install python3-venv"; \
	else \
	    echo "Landslide needs Python 3.11 or later, and none was found on PATH."; \
	    echo "Install one, or name it: make run PYTHON=/path/to/python3"; \
	fi >&2; exit 1
