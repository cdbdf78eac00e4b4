# The two main commands are `make demo` and `make test`. They require only Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Let tox find the other Python versions that pyenv has installed.
empty :=
space := $(empty) $(empty)
PYENV := $(or $(PYENV_ROOT),$(HOME)/.pyenv)
export PATH := $(PATH):$(subst $(space),:,$(wildcard $(PYENV)/versions/3.1[0-9].*/bin))

.PHONY: bench bench-audit demo hops test test-all test-faults format messages clean help
.DEFAULT_GOAL := help

help:  ## show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: $(VENV)/demo  ## run the example project (options: PORT, DATABASE_URL, RABBITMQ_HOST)
	@$(BIN)/python example_project/demo.py

test: $(VENV)/tox  ## run the tests, lint, types and packaging
	@$(BIN)/tox run

test-all: $(VENV)/tox  ## do the same with every supported pair of Python and Django
	@$(BIN)/tox run -m all

test-faults: $(VENV)/tox  ## run every case of docs/faults.md with a private broker and database (option: FAULT_EVENTS)
	@FAULTS=all $(BIN)/tox run -e faults

bench:  ## compare the kit with similar packages (about 45 minutes) and write docs/performance.md (BENCH=--help shows how to measure one table)
	@$(PYTHON) -m venv $(VENV)/peers
	@$(VENV)/peers/bin/pip install --quiet --requirement benchmarks/peers/requirements.txt
	@PYTHONPATH=src $(VENV)/peers/bin/python -m benchmarks.peers $(BENCH)

bench-audit: $(VENV)/demo  ## measure the cost of the audit stream and write docs/performance-audit.md
	@$(BIN)/pip install --quiet --group test
	@$(BIN)/python -m benchmarks.audit

hops: $(VENV)/demo  ## count the files, functions and calls of a request (HOPS=--list lists them)
	@$(BIN)/pip install --quiet --group test
	@$(BIN)/python -m tests.with_services $(BIN)/python -m benchmarks.hops $(HOPS)

format: $(VENV)/demo  ## format the code
	@$(BIN)/pip install --quiet --group lint
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

messages: $(VENV)/demo  ## update the translation catalogues from the source and compile them (requires gettext)
	@cd src/ninja_auth_kit && $(CURDIR)/$(BIN)/python -m django makemessages --all --no-location --no-obsolete --no-wrap
	@cd src/ninja_auth_kit && $(CURDIR)/$(BIN)/python -m django compilemessages

clean:  ## remove the files that these commands have created
	rm -rf $(VENV) .tox .local dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required; this is %d.%d. Choose another: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	@echo "Creating the virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/demo: pyproject.toml | $(VENV)/bin/pip
	@echo "Installing the kit and the demo's PostgreSQL"
	@$(BIN)/pip install --quiet --editable '.[oidc,passkeys,totp]' --group demo
	@touch $@

$(VENV)/tox: | $(VENV)/bin/pip
	@$(BIN)/pip install --quiet 'tox>=4.30'
	@touch $@
