# Two verbs for a newcomer: `make demo` and `make test`. Both install what they need.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
# Python compiles what it imports when it does: compiling all of it takes a minute more. An environment that keeps
# it from storing what it compiled, as images of containers do, would have every process compile everything anew.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile
ROOT_APT := [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null

.PHONY: demo test check fix e2e install clean

install: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "LSL needs Python 3.11 or newer: make PYTHON=python3.12 …"; exit 1; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "Installing LSL (once, a few minutes)…"
	@$(PIP) -r requirements.txt
	@$(PIP) --no-deps --editable .
	@$(BIN)/python -c 'import cv2' 2>/dev/null || $(MAKE) --no-print-directory system
	@touch $@

# opencv-python draws on system libraries that a bare server lacks
.PHONY: system
system:
	@if $(ROOT_APT); then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -qq libgl1 libglib2.0-0 libxcb1 >/dev/null; \
	else echo "OpenCV misses system libraries. Install them: sudo apt-get install libgl1 libglib2.0-0 libxcb1"; exit 1; fi

$(DEV_STAMP): $(STAMP) requirements-dev.txt requirements-alone.txt
	@$(PIP) -r requirements-dev.txt
	@$(PIP) --no-deps -r requirements-alone.txt
	@touch $@

# Browser tests need Chromium; without it they are skipped and say so.
.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	{ if $(ROOT_APT); then echo "Installing Chromium for the browser tests…"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -qq chromium chromium-driver >/dev/null || echo "Chromium could not be installed: the browser tests will be skipped."; \
	else echo "No Chromium: the browser tests will be skipped (sudo apt-get install chromium chromium-driver)."; fi; }

demo: $(STAMP)
	@$(BIN)/lsl demo $(if $(SMOKE),--smoke)

# One process more than cores, since many tests wait for a browser or a server, one thread in each; at most four, since each
# loads torch. One after another: make test PARALLEL=
PARALLEL := --numprocesses $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses 4 --dist worksteal

test: $(DEV_STAMP) chromium
	@OMP_NUM_THREADS=1 $(BIN)/pytest -m "not live and not gpu" $(PARALLEL)

check: $(DEV_STAMP)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

fix: $(DEV_STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

e2e: $(DEV_STAMP) chromium
	@$(BIN)/pytest -m e2e

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
