# make demo | linked | test | check | bench | docs   Each makes the environment it needs, in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo linked test check bench docs clean
.DELETE_ON_ERROR:

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("synthgen needs Python 3.11 or newer; set PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,baselines,postgres]'
	touch $@

demo: $(READY)  ## the real PBC cohort in; a private synthetic cohort and its report out
	$(BIN)/synthgen run configs/pbc.yaml --workspace workspace/demo-$$(date +%Y%m%d-%H%M%S)

linked: $(READY) workspace/linked-cohort workspace/linked-public  ## record, picture and note of one patient under one epsilon, on a simulated cohort
	$(BIN)/synthgen run configs/linked.yaml --workspace workspace/linked-$$(date +%Y%m%d-%H%M%S)

workspace/linked-cohort: $(READY)
	$(BIN)/synthgen simulate configs/linked/cohort.yaml $@

workspace/linked-public: $(READY)
	$(BIN)/synthgen simulate configs/linked/cohort.yaml $@ --seed 1

test: $(READY)  ## every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

check: $(READY)  ## style, types, floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## every benchmark, full size; results go to benchmarks/results
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	for b in benchmarks/[a-z]*.py; do $(BIN)/python $$b --json benchmarks/results/$$(basename $$b .py).json || exit 1; done

docs: $(READY)  ## the pages that are made from the code
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) build *.egg-info
