# Everything starts from a checkout with Python 3.11 or later; the first target that needs it makes .venv.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.installed

.PHONY: verify test test-all lint fuzz mutants slips differential bench clean

verify: $(SETUP)
	$(BIN)/tlbcheck verify --expect

test: $(SETUP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: $(SETUP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m ""

lint: $(SETUP)
	$(BIN)/ruff check tlbcheck models properties tests bench
	$(BIN)/mypy tlbcheck models properties tests bench/run.py

# Mutated inputs of every kind, for MINUTES= (60); what fails is kept in fuzz-failures/.
fuzz: $(SETUP)
	$(BIN)/python tests/fuzz/campaign.py --minutes $(or $(MINUTES),60)
	$(BIN)/python tests/patch/wild.py --minutes $(or $(MINUTES),60) --state fuzz-failures/wild.json

mutants: $(SETUP)
	$(BIN)/python tests/mutants.py

# Every single-name misspelling of the example, three models and all properties; goes on where the last time ended (.slips.jsonl).
slips: $(SETUP)
	$(BIN)/python tests/slips.py

# Random models, every engine against the reference interpreter; goes on where the last time ended (.differential/).
MINUTES ?= 60
differential: $(SETUP)
	$(BIN)/python tests/differential/differential.py --minutes $(MINUTES)

# cr3race beside every peer that is installed (apt-get install spin rumur berkeley-abc); make bench SIZES="S M" does these only.
bench: $(SETUP)
	$(BIN)/python bench/run.py $(if $(SIZES),--no-growth $(SIZES))

$(SETUP): pyproject.toml hatch_build.py tlbcheck/engines/_search.c
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist
