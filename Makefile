# Each target does its own set-up: a machine with Python 3.11 or later and pip is enough. With a C++ compiler and
# Python's headers long runs are compiled, and faster.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := torch==2.13.0

.DEFAULT_GOAL := help
.PHONY: help install demo lectures test test-slow lint format bench

help:  ## show this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## make .venv with everything that the other targets need

# torch first: asked for by its exact version, pip takes the build that the machine's index offers for it.
$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "offrl needs Python 3.11 or later")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(STAMP)  ## record data, train behaviour cloning and IQL on it, compare them (minutes)
	$(BIN)/python scripts/demo.py

lectures: $(STAMP)  ## every claim of the lectures: runs, figures, verdicts, one page (up to 90 minutes)
	$(BIN)/offrl train experiment=lectures/all

test: $(STAMP)  ## the tests (minutes)
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(STAMP)  ## the tests of learning, packaging and timing too (hours)
	$(BIN)/python -m pytest -m "slow or not slow"

lint: $(STAMP)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(STAMP)  ## put the source into the one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## every figure of speed beside other libraries, into docs/benchmarks.md (half an hour)
	$(BIN)/python benchmarks/run.py --install-peers
