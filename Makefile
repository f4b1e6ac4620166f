# make demo    the main job on real data, from nothing to a report
# make test    lint, types and tests (no system package, no network beyond the package index)
# make e2e     what needs a browser, a server or long runs, the benchmarks' tests among them (system packages: see .ci/run)
# make pictures    the pictures of the desk, Prefect and MLflow in docs/, after make demo (needs what make e2e needs)

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
E2E_READY := .venv/.ready-e2e

.PHONY: setup demo test e2e pictures wheel pin clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found."; exit 1; }
	@echo "Setting up .venv with $(PYTHON) (a few minutes the first time, nothing afterwards) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@# torch by its exact pin and first, so that no resolver picks another build of it.
	@# What is imported compiles itself; compiling all of it takes a minute.
	@$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	@$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[demo,dev]'
	@touch $(READY)
	@echo "Ready: $$($(BIN)/flowguard --version)"

$(E2E_READY): $(READY)
	@$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[e2e]'
	@touch $(E2E_READY)

demo: $(READY)
	@$(BIN)/flowguard demo

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not e2e" --ignore=tests/e2e --durations=10

e2e: $(E2E_READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m e2e --durations=40

pictures: $(E2E_READY)
	$(BIN)/python -m docs.pictures.desk
	$(BIN)/python -m docs.pictures.services

wheel: $(READY)
	$(BIN)/python -m build --wheel --outdir dist .

pin: $(E2E_READY)
	@{ sed -n '1p' constraints.txt; $(BIN)/pip freeze --exclude-editable | sed 's/+cpu//; s/ @ .*//' | grep -viE '^(pip|setuptools|flowguard)=='; } > .pins && mv .pins constraints.txt

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
