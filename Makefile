# `make` alone lists the targets. README.md has the same steps without make.

.DEFAULT_GOAL := help
.PHONY: help lab test generate notebooks site bench format clean

# Kernels start in notebooks/, so a relative folder is made absolute before it gets there.
ifneq ($(strip $(VG_DATA)),)
export VG_DATA := $(abspath $(VG_DATA))
endif

# As vg/__init__.py has it, for kernels that import torch before vg.
export GOMP_SPINCOUNT ?= 1000

VENV := .venv
PY := $(VENV)/bin/python
# How pytest runs: two files at a time, each on one thread. `make test PYTEST='-k house'` or `PYTEST=` for one at a time.
PYTEST ?= -n 2 --dist loadscope

# A Python that fits and can make a virtual environment. A name on the path may be a stub that does not
# run, so each one is tried. `make lab PYTHON=/path/to/python3.12` overrides.
FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	"$$python" -c '$(FITS)' >/dev/null 2>&1 && { echo "$$python"; break; }; done)

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

lab: $(VENV)/.installed ## set up what is missing and open JupyterLab on the first notebook
	@git config filter.notebook.clean '$(PY) notebooks/clean.py' 2>/dev/null || true
	$(PY) -m jupyterlab notebooks/00_start_here.ipynb

test: $(VENV)/.installed ## set up, run every test and every notebook (profile smoke, no network)
	VG_PROFILE=smoke OMP_NUM_THREADS=1 $(PY) -m pytest tests notebooks --nbval $(PYTEST)

generate: $(VENV)/.installed ## set up, write new clips under out/ from the shipped weights
	$(PY) -m vg.generate

notebooks: $(VENV)/.installed ## execute all notebooks in order and write them back (VG_PROFILE, VG_DATA)
	$(PY) notebooks/build.py --execute

site: $(VENV)/.installed ## build the course as static pages under build/site, to be opened or served
	$(PY) -m sphinx -q -W --keep-going -c docs . build/site
	@echo "build/site/index.html"

bench: $(VENV)/.installed ## run the benchmarks, one after another
	@for file in benchmarks/*.py; do \
		test -e "$$file" || continue; echo "== $$file"; $(PY) "$$file" || exit 1; done

format: $(VENV)/.installed ## tidy the code the way the tests want it
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean: ## remove what tools leave behind (not .venv, data, runs or out)
	rm -rf build .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) \
		-exec rm -rf {} +

# Rebuilt when the list of packages changes. An existing environment is kept and only brought up to date.
$(VENV)/.installed: pyproject.toml
	@if ! $(PY) -m pip --version >/dev/null 2>&1; then \
		if ! "$(PYTHON)" -c '$(FITS)' >/dev/null 2>&1; then \
			echo "vg needs Python 3.11, 3.12 or 3.13 with venv:" \
				"$(if $(PYTHON),'$(PYTHON)' is none.,the path has none.)" >&2; \
			echo "Install one (on Debian and Ubuntu: python3 and python3-venv)," >&2; \
			echo "or name it: make $(or $(MAKECMDGOALS),lab) PYTHON=/path/to/python3.12" >&2; \
			exit 1; \
		fi; \
		"$(PYTHON)" -m venv $(VENV); \
	fi
	$(PY) -m pip install -e '.[dev]'
	@touch $@
