# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
#
#   make demo         distil the digits, evaluate, write the report
#   make test         the test suite, in under twenty minutes
#   make test-all     also the tests that take long, among them every config
#   make check        lint, types, import rules, documentation
#   make bench-quick  steps per second of the main loops, in under three minutes
#   make bench        training and outer steps against PyTorch doing the same work

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
RUNS ?= runs/demo
export MPLBACKEND := Agg

.PHONY: demo test test-all check bench bench-quick docs format notebooks clean

$(VENV)/.runtime: pyproject.toml constraints.txt
	@start=$$(date +%s); \
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
	$(PIP) -e . && touch $@ && \
	echo "Installed in $$(( $$(date +%s) - start )) s."

$(VENV)/.develop: $(VENV)/.runtime
	$(PIP) -e '.[test,docs]'
	@touch $@

demo: $(VENV)/.runtime
	$(BIN)/distill-jax distill --config=configs/digits_frepo.py \
	  --config.num_per_class=1 --config.num_steps=3000 --workdir=$(RUNS)/1_per_class
	$(BIN)/distill-jax distill --config=configs/digits_frepo.py \
	  --config.num_per_class=10 --config.num_steps=1000 --workdir=$(RUNS)/10_per_class

test: $(VENV)/.develop
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

# Compiled as the library itself compiles.
test-all: $(VENV)/.develop
	DISTILL_JAX_TEST_LEVEL=1 $(BIN)/python -m pytest -n 2 --dist loadgroup \
	  --no-loadscope-reorder -m "long or not long"

check: $(VENV)/.develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -q tests/test_import_rules.py
	$(MAKE) docs

docs: $(VENV)/.develop
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "The documentation is in docs/_build/html/index.html."

bench-quick: $(VENV)/.runtime
	$(BIN)/python benchmarks/quick.py

bench: $(VENV)/.runtime
	$(PIP) -e '.[bench]'
	$(BIN)/python benchmarks/versus_torch.py --record
	$(BIN)/python benchmarks/students.py --record

notebooks: $(VENV)/.develop
	$(BIN)/python notebooks/execute.py --runlocal

format: $(VENV)/.develop
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist runs docs/_build .pytest_cache .ruff_cache
