# Two commands do everything: `make demo` and `make test`. Both set up first, in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
DATA := runs/data

.PHONY: demo test test-all lint docs setup clean

setup: $(VENV)/.installed

$(VENV)/.installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; install Python 3.11 or newer, or run make PYTHON=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "installing into $(VENV): some minutes and 2.6 GB"
	$(BIN)/python -m pip install --quiet --editable ".[phantom,test,lint]"
	@touch $@

# Simulate the phantom, train, evaluate, report. An interrupted demo resumes.
demo: setup
	$(BIN)/python -m data.prepare brain_phantom --data_dir=$(DATA)
	$(BIN)/python -m fusioninn_jax.train --config=configs/demo.py --config.data.data_dir=$(DATA) --workdir=$(DEMO)
	$(BIN)/python -m fusioninn_jax.evaluate --workdir=$(DEMO) --split=test
	$(BIN)/python -m fusioninn_jax.report run --workdir=$(DEMO)

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Every case of the tests that otherwise take a choice of them.
test-all: setup
	FUSIONINN_ALL_TESTS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, into docs/_build/html; runs the notebooks, which takes minutes the first time. A warning is an error.
docs: setup
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf runs docs/_build
