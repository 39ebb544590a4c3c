# make install install into .venv; with CPU=1 without the CUDA libraries, which take 5 GB
# make board   print the published MNIST board
# make demo    install into .venv, score some models on the embedded digits, print the board
# make test    install the test extra, then lint, types and tests; of every model family one variant
# make journeys    the long ways: the tutorial, a submission, a killed driver, browsers, a cluster, trained models
# make test-all    all of these with every variant: before results or benchmarks are published
# make benchmark   the timed comparisons, alone on the machine
# make cluster-demo   a cluster on this machine to try: PostgreSQL, MLflow, Ray's head and two workers, a board over them
# make breaks  break each defining property in a copy of the tree, and see that its test fails

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := demo

PYTHON ?= python3
CPU ?= 0
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# PyTorch's own index of builds without CUDA; a build with a local version (+cpu) wins over one without.
WHEELS := $(if $(filter 1,$(CPU)),--extra-index-url https://download.pytorch.org/whl/cpu)

# One thread each: the workers share the cores.
export OMP_NUM_THREADS ?= 1

.PHONY: install board demo test journeys test-all lint benchmark breaks cluster-demo clean

install: $(VENV)/.installed
	@echo "installed; '. $(BIN)/activate' puts the suite command on your path"

board: $(VENV)/.installed
	$(BIN)/suite board results/mnist

demo: $(VENV)/.installed
	$(BIN)/suite run --file results/demo.yaml --workers $(WORKERS)

test: $(VENV)/.installed-test lint
	$(BIN)/python -m pytest -n $(WORKERS) -q --ignore=tests/benchmarks --durations=25

test-all: $(VENV)/.installed-test lint
	$(BIN)/python -m pytest -n $(WORKERS) -q --ignore=tests/benchmarks -m ''

journeys: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(WORKERS) -q --ignore=tests/benchmarks -m 'journey and not exhaustive' --dist loadfile --durations=10

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: $(VENV)/.installed-test
	$(BIN)/python -m pytest tests/benchmarks -q --timeout 1200 --benchmark-json=results/benchmarks.json

breaks: $(VENV)/.installed-test
	$(BIN)/python -m tests.breaks

cluster-demo: $(VENV)/.installed-cluster
	$(BIN)/python -m tests.cluster.demo --install

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "latent-suite needs Python 3.11 or newer; try: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps spare a second call of make every call of pip.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet $(WHEELS) --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet $(WHEELS) --constraint constraints.txt --editable '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-cluster: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet $(WHEELS) --constraint constraints.txt --editable '.[cluster]'
	touch $@ $(VENV)/.installed
