# Every target sets up what it needs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEQUENCE ?= ../shared/data/redkitchen
export PYTHONDONTWRITEBYTECODE :=
.DEFAULT_GOAL := help
.PHONY: help install lock demo test test-fast test-all check format docs bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/.ready: pyproject.toml tools/system_libraries.sh
	@sh tools/system_libraries.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,dsg]'
	@touch $@

install: $(VENV)/.ready  ## the virtual environment with the package and its dependencies

lock: install  ## write the versions that are installed to .ci/constraints.txt, with which CI tests
	@version=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	$(BIN)/python -m pip freeze --exclude-editable | sed "s/$$/ ; python_version == '$$version'/" > .ci/constraints.txt

demo: install  ## map the built-in synthetic apartment and say what was found
	$(BIN)/m2h demo --out demo

test: install  ## the default tests (under 8 minutes on 2 cores)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not full'

test-fast: install  ## a subset that takes under a minute
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow and not full'

test-all: install  ## everything, the long ones too
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: install  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install  ## let ruff put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install  ## the documentation as a site in build/site; a warning is an error
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/python -m mkdocs build --strict

bench: install  ## run the benchmarks; write benchmarks/results/*.json and docs/benchmarks.md
	$(BIN)/python benchmarks/run_all.py --sequence $(SEQUENCE) $(if $(LEGACY_OPEN3D),--legacy-open3d $(LEGACY_OPEN3D))

clean:  ## remove what the other targets made
	rm -rf $(VENV) build demo *.egg-info .mypy_cache .ruff_cache .pytest_cache
