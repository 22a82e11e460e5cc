# Every target makes the environment it needs. VENV, PYTHON and JOBS can be set on the command line:
#   make test VENV=other-env PYTHON=python3.12 JOBS=4
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
TEST_OPTIONS ?=
DEMO ?=
FAULTS ?= 20
PYTHONS ?= python3.11 python3.12

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
# Test workers share the cores: one thread each.
ONE_THREAD := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1
# Neighbours stay together, so that what a file of tests shares is made once; who is done takes over.
SHARED := -n $(JOBS) --dist worksteal
SPELLED := README.md CONTRIBUTING.md CHANGELOG.md docs channels templates benchmarks tools molexa molexa_core molexa_cli
CHECKED := molexa_core molexa_cli tests benchmarks tools

.PHONY: help all demo docs test test-slow lint types imports spelling bench disturb fuzz hashes licences audit format clean
.NOTPARALLEL:

help:
	@echo "make demo       run the whole chain on a virtual experiment and write its report"
	@echo "make test       run the tests (TEST_OPTIONS=... goes to pytest)"
	@echo "make test-slow  run all tests, slow ones included"
	@echo "make lint       check style, formatting, spelling and the import contract"
	@echo "make types      check types"
	@echo "make docs       build the pages as a site; open site/index.html"
	@echo "make bench      measure speed and store the results in benchmarks/results"
	@echo "make fuzz       damage small inputs of every kind (FAULTS=200 for the whole search)"
	@echo "make hashes     write requirements-hashes.txt (PYTHONS='python3.11 python3.12')"
	@echo "make licences   write docs/licences.md"
	@echo "make audit      ask whether a package has a known security fault; skipped without a network"
	@echo "make all        lint, types, test, demo"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "molexa needs Python 3.11 or later; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing molexa into $(VENV)"
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing molexa with the development tools into $(VENV)"
	$(PIP) -e ".[dev]"
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what builds the pages into $(VENV)"
	$(PIP) -e ".[docs]"
	@touch $@

all: lint types test demo

demo: $(VENV)/.installed
	$(BIN)/molexa demo $(DEMO)

# Warnings are errors: mkdocs.yml has `strict`.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

test: $(VENV)/.installed-dev
	$(ONE_THREAD) $(BIN)/python -m pytest $(SHARED) $(TEST_OPTIONS)

test-slow: $(VENV)/.installed-dev
	$(ONE_THREAD) $(BIN)/python -m pytest $(SHARED) --slow $(TEST_OPTIONS)

lint: $(VENV)/.installed-dev imports spelling
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)

spelling: $(VENV)/.installed-dev
	$(BIN)/codespell $(SPELLED)

imports: $(VENV)/.installed-dev
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev
	$(BIN)/mypy

disturb: $(VENV)/.installed-dev
	$(BIN)/python tools/disturbed_writing.py kill disk

bench: $(VENV)/.installed-dev
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

fuzz: $(VENV)/.installed-dev
	$(ONE_THREAD) $(BIN)/python tools/fuzz_inputs.py --faults $(FAULTS) --jobs $(JOBS)

# Each interpreter needs a pip that tells digests without fetching (25 or later).
hashes: $(BIN)/python
	$(BIN)/python tools/write_hashes.py $(PYTHONS)

licences: $(VENV)/.installed-dev
	$(PIP) -r constraints.txt
	$(BIN)/python tools/write_licences.py

audit: $(VENV)/.installed-dev
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet pip-audit || true
	$(BIN)/python tools/audit_packages.py

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

clean:
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
