# Everything runs from .venv, which holds the versions of constraints.txt and is brought up to date when
# pyproject.toml or constraints.txt has changed. The project itself is installed in place: what is
# edited takes effect at once.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8765
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SOURCES := emotion train export stream_server clients tests docs benchmarks conftest.py

.PHONY: help serve test check format clean fuzz

help:
	@echo "make serve   the server with the embedded model (HOST=, PORT=, ARGS=...)"
	@echo "make test    format, lint, types and tests: what CI runs"
	@echo "make check   the same without the tests"
	@echo "make fuzz    100,000 random frames against a live server"
	@echo "make format  formats and fixes what can be fixed"
	@echo "make clean   removes .venv and caches"

serve: $(VENV)/.serve
	@$(BIN)/emotion-server --host $(HOST) --port $(PORT) $(ARGS)

test: check
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.test
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

fuzz: $(VENV)/.test
	EMOTION_FUZZ_FRAMES=100000 $(BIN)/python -m pytest tests/stream_server/test_fuzz.py

format: $(VENV)/.test
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

# A stamp a set of extras: serving never waits for torch.
$(VENV)/.serve: pyproject.toml constraints.txt $(BIN)/python
	@echo "installing the server into $(VENV)"
	$(INSTALL) -e '.[cpu]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt $(BIN)/python
	@echo "installing everything that the tests need into $(VENV)"
	$(INSTALL) -e '.[cpu,train,export,dev]'
	@touch $@ $(VENV)/.serve

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("make: Python %d.%d: expected 3.11 or newer; name one with make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
