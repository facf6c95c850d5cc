# Everything that the targets need they set up themselves: a virtual environment in .venv and Debian packages.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export WHARFINGER_HOME ?= $(CURDIR)/.wharfinger

# Most tests wait for other processes, so that one more than the cores pays.
TEST_PROCESSES ?= $(shell expr 1 + $$(nproc))

PROTOS := $(wildcard proto/wharfinger/*/v1/*.proto)

##@ Use
.PHONY: run
run: .venv/.run ## Set everything up, then run the daemon on its embedded defaults
	@deploy/debian-packages run
	@$(BIN)/wharfinger init --development --home "$$WHARFINGER_HOME"
	@exec $(BIN)/wharfinger serve --config "$$WHARFINGER_HOME/config.toml"

.PHONY: demo
demo: .venv/.run ## Scan, publish and verify a dozen real wheels, and see a tampered one refused
	@deploy/debian-packages run
	@$(BIN)/python docs/examples/demo.py

##@ Test
.PHONY: test
test: .venv/.dev ## Set everything up, then run every test
	@deploy/debian-packages test
	@deploy/node-packages
	@deploy/check-warehouse-pins "$(PYTHON)"
	@$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --no-loadscope-reorder

.PHONY: test-long
test-long: .venv/.dev ## Run the tests that take longer than CI allows
	@deploy/debian-packages test
	@deploy/node-packages
	@$(BIN)/python -m pytest -m long

.PHONY: lint
lint: .venv/.dev ## Check style, types, layers and protos
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/buf lint
	@deploy/buf-breaking $(BIN)/buf

.PHONY: check
check: lint generate-check test ## Run exactly what CI runs

.PHONY: bench
bench: .venv/.dev .venv/.peers ## Measure, as ratios against the floor and peers
	@deploy/debian-packages bench
	@$(BIN)/python -m bench

##@ Develop
.PHONY: generate
generate: .venv/.generate ## Generate code from the protos
	@deploy/generate $(VENV)/generate proto
	@$(MAKE) format

.PHONY: generate-check
generate-check: .venv/.generate ## Fail if the committed generated code is not what the protos give
	@deploy/generate-check $(VENV)/generate

.PHONY: format
format: .venv/.dev ## Format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

.PHONY: docs
docs: .venv/.dev ## Build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: lock
lock: .venv/.dev ## Write the hashed lock files anew from pyproject.toml
	@deploy/lock $(BIN)/pip-compile

.PHONY: clean
clean: ## Remove what the other targets made, but never .wharfinger
	@rm -rf $(VENV) site dist .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage

##@ Help
.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- what the targets need -------------------------------------------------------------------------------------------
.venv/.python:
	@deploy/virtual-environment "$(PYTHON)" $(VENV)
	@touch $@

.venv/.run: .venv/.python requirements/run.txt requirements/build.txt pyproject.toml
	@echo "Installing what the daemon needs …"
	@$(BIN)/pip --disable-pip-version-check install --quiet --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(BIN)/pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.python requirements/dev.txt pyproject.toml
	@echo "Installing what the tests need …"
	@$(BIN)/pip --disable-pip-version-check install --quiet --require-hashes -r requirements/dev.txt
	@$(BIN)/pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@ .venv/.run

.venv/.peers: .venv/.python requirements/peers.txt
	@$(PYTHON) -m venv $(VENV)/peers
	@$(VENV)/peers/bin/pip --disable-pip-version-check install --quiet --require-hashes -r requirements/peers.txt
	@touch $@

.venv/.generate: .venv/.python requirements/generate.txt
	@$(PYTHON) -m venv $(VENV)/generate
	@$(VENV)/generate/bin/pip --disable-pip-version-check install --quiet --require-hashes -r requirements/generate.txt
	@touch $@
