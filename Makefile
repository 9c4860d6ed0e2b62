# Two commands do everything on a machine with Python 3.11+ and make: `make run` and `make test`.
PYTHON ?= python3
VENV ?= .venv
# `make run DEMO="--json"` passes options on.
DEMO ?=
# `make torture TORTURE="--rounds 20 --postgres"` passes options on.
TORTURE ?=
# How many processes share the tests; with 0 there is one, which shows more. Four keep two cores busy: many
# tests wait for a disk, or for a process that they started.
WORKERS ?= 4
# Which PyTorch `make test-torch` brings.
TORCH ?= torch==2.13.0
BENCH ?= import_time
BIN := $(VENV)/bin
export VENV
# The tests start Python some hundred times: without what is compiled once, every start takes twice as long.
unexport PYTHONDONTWRITEBYTECODE
# MkDocs Material advertises its successor at every build.
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.PHONY: help run setup test check collected format docs test-torch bench torture lock clean python

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | column -t -s '|' 2>/dev/null \
	|| sed -n 's/^\([a-z-]*\):.*## /  make \1  /p' $(firstword $(MAKEFILE_LIST))

run: python  ## Install and run the demo: a year of flights, a bad release, a retrained model
	@$(PYTHON) scripts/setup.py run
	@$(BIN)/lossloop demo $(DEMO)

setup: python  ## Install everything that tests, docs and benches need
	@$(PYTHON) scripts/setup.py dev

test:  ## Install, check and test everything
	@$(MAKE) --no-print-directory --jobs 2 check collected
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: setup  ## Format, lint, types, the house, the docs and the locks, without running tests
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/mkdocs build --strict --site-dir .cache/site
	$(BIN)/python scripts/lock.py --check

# What pytest makes of each file is kept: made once, while mypy keeps another core busy, it is there for all processes.
collected: setup
	@$(BIN)/python -m pytest --collect-only --quiet >/dev/null 2>&1 || true

format: setup  ## Rewrite the code as `make check` wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup  ## Serve the documentation on this machine
	$(BIN)/mkdocs serve

test-torch: setup  ## Install PyTorch next to the rest and run the tests that need it
	$(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check '$(TORCH)'
	$(BIN)/python -m pytest -m torch

bench: setup  ## Run benchmarks/$BENCH.py
	$(BIN)/python -m benchmarks.$(BENCH)

torture: setup  ## Kill everything at random while facts come in, then count: 200 rounds
	@$(BIN)/python -m tests.torture $(TORTURE)

lock: setup  ## Take the newest version of everything, and pin it
	$(BIN)/python scripts/lock.py

clean:  ## Remove what was installed and built
	rm -rf $(VENV) .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist site

python:
	@command -v $(PYTHON) >/dev/null \
	|| { echo "setup: $(PYTHON) was not found; Python 3.11 or newer is needed. Name one: make PYTHON=python3.13 ..." >&2; exit 1; }
