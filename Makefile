# Everything starts from a checkout with Python 3.11 or later; the first target that needs it makes .venv.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.installed

.PHONY: verify test lint mutants clean

verify: $(SETUP)
	$(BIN)/tlbcheck verify --expect

test: $(SETUP)
	$(BIN)/python -m pytest -n 2

lint: $(SETUP)
	$(BIN)/ruff check tlbcheck models properties tests
	$(BIN)/mypy tlbcheck models properties tests

mutants: $(SETUP)
	$(BIN)/python tests/mutants.py

$(SETUP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist
