# Everything a person needs. `make help` lists it; nothing but Python 3.11+, make and a network to the package registry is assumed.
.DEFAULT_GOAL := help
SHELL := /bin/bash

TOOLS := .tools
UV := $(TOOLS)/bin/uv
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done)
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1
# Beside what else is kept between clones: a fresh one is checked in seconds.
export MYPY_CACHE_DIR := $(or $(SEATRIAL_CACHE),$(HOME)/.cache/seatrial)/mypy
# Tests and trials are processes by the hundred: where none may keep what it compiled, each compiles all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# ---- set-up ---------------------------------------------------------------------------------------------------------

$(UV):
	@test -n "$(PYTHON)" || { echo "Seatrial needs Python 3.11 or newer: install it, or run make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(TOOLS) && $(TOOLS)/bin/pip install --quiet --disable-pip-version-check -r requirements/uv.txt

$(VENV)/pyvenv.cfg: $(UV)
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)

# The demo needs what users need; the tests need all. Both sets come from the same lock files.
$(VENV)/.demo: requirements/demo.txt pyproject.toml trial_image/pyproject.toml $(VENV)/pyvenv.cfg
	@echo "installing Seatrial, its harness and the examples' torch into $(VENV)"
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/demo.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps -e . -e trial_image
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.demo
	@echo "installing what the tests need into $(VENV)"
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

.PHONY: setup
setup: $(VENV)/.dev browser prometheus control-plane ## Install everything for developing

.PHONY: browser
browser: ## Install headless Chromium for the report's tests (Debian, Ubuntu, macOS)
	@scripts/install-chromium

.PHONY: prometheus
prometheus: ## Install Prometheus for the tests of curves on a cluster (Debian, Ubuntu, macOS)
	@scripts/install-prometheus

.PHONY: control-plane
control-plane: ## Build etcd, the API server and their like from Go modules, minutes at first
	@scripts/cluster-tools control-plane

.PHONY: lock
lock: $(UV) ## Resolve the dependencies anew into requirements/
	scripts/lock $(UV)

# ---- a cluster to play with ------------------------------------------------------------------------------------------

.PHONY: kind-up
kind-up: ## Make a kind cluster with two pretended GPUs and Seatrial, and print the environment that finds it
	@exports=$$(scripts/kind-up) && scripts/kind-install && echo "$$exports"

.PHONY: kind-down
kind-down: ## Remove it again
	@scripts/kind-down

# ---- main jobs ------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.demo ## Install, then run examples/digits.yaml to the end and write its report
	@$(BIN)/seatrial run examples/digits.yaml

# One after the other: beside a cluster that trains, others lack the processor for what they hold within time limits.
.PHONY: test
test: setup ## Install, then pass every check and test
	@$(MAKE) --no-print-directory -j 2 verify pytest
	@scripts/test-kind --unless-passed

# More workers than a small machine has cores: many tests wait for processes and clusters.
.PHONY: pytest
pytest: $(VENV)/.dev ## The tests that need no kind cluster
	@$(BIN)/python -m pytest -n 4 --dist worksteal -m "not kind" tests

.PHONY: test-kind
test-kind: $(VENV)/.dev ## The tests on a real cluster in containers, which they make where none is up
	@scripts/test-kind

.PHONY: test-fast
test-fast: $(VENV)/.dev ## The quick tests of every layer, which need no torch, browser, Prometheus or cluster
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not torch and not browser and not cluster and not prometheus and not kind" tests

.PHONY: fuzz
fuzz: $(VENV)/.dev ## The tests of properties again, with examples that nobody has tried yet
	@$(BIN)/python -m pytest -n 2 --dist worksteal --hypothesis-profile=fuzz -m "hypothesis and not kind" tests $(ARGUMENTS)

.PHONY: verify
verify: $(VENV)/.dev ## Lint, types, layers, and that generated files are current
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
# What runs on a laptop, as macOS has it.
	@$(BIN)/mypy --platform darwin --cache-dir $(MYPY_CACHE_DIR)-darwin operator/seatrial trial_image
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python scripts/generate.py --check

.PHONY: hostile
hostile: $(VENV)/.dev ## 10,000 hostile studies and 2,000 edits on a real API server, about an hour
	@PYTHONPATH=tests $(BIN)/python -m control_plane.hostile.run $(ARGUMENTS)

.PHONY: soak
soak: $(VENV)/.dev ## 20 minutes of churn on a real API server: nothing of the operator may grow
	@PYTHONPATH=tests $(BIN)/python -m control_plane.soak $(ARGUMENTS)

.PHONY: day
day: $(VENV)/.dev ## 24 hours of an operator's life with outages, on a clock that does not wait: minutes
	@PYTHONPATH=tests $(BIN)/python -m faults.day $(ARGUMENTS)

.PHONY: faults
faults: $(VENV)/.dev ## Faults at every write: memory, a real API server, a disk; 20 minutes, then docs/reliability.md
	@scripts/faults --write $(ARGUMENTS)

.PHONY: format
format: $(VENV)/.dev ## Format the code and regenerate generated files
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .
	@$(BIN)/python scripts/generate.py

.PHONY: sbom
sbom: $(VENV)/.dev ## Write bills of materials into dist/sbom and the list of licences
	@$(BIN)/python scripts/sbom.py

.PHONY: audit
audit: $(VENV)/.dev ## Ask for known vulnerabilities of the locked packages
	@$(BIN)/python scripts/audit.py

.PHONY: clean
clean: ## Remove the environment and the tools; studies under .seatrial/ stay
	rm -rf $(VENV) $(TOOLS) .ruff_cache .pytest_cache .hypothesis
