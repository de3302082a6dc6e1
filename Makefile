# Each target does all of its own set-up, and nothing twice.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: mnist test test-slow test-cluster docs pictures images bench bench-search chaos clean

mnist: $(VENV)/installed
	$(BIN)/python -m lrsearch +sweep=mnist

test: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy lrsearch
	$(BIN)/python -m pytest

# On clusters that the tests start on this machine; what cannot be started is skipped, with the reason.
test-cluster: $(VENV)/installed-cluster
	$(BIN)/python -m pytest -m cluster -n 0 -rs

test-slow: $(VENV)/installed-test
	$(BIN)/python -m pytest -m slow

docs: $(VENV)/installed-docs
	$(BIN)/python -m mkdocs build --strict

# The pictures of the documentation, at each release.
pictures: $(VENV)/installed-test
	$(BIN)/python docs/pictures.py

# The images for CPU and for CUDA; IMAGE=registry.example.org/me/lrsearch names them for a registry.
IMAGE ?= lrsearch
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' lrsearch/__init__.py)
images:
	docker build --build-arg VERSION=$(VERSION) \
	    --tag $(IMAGE):$(VERSION) --tag $(IMAGE):$(VERSION)-cpu --tag $(IMAGE):cpu --tag $(IMAGE) .
	docker build --build-arg VERSION=$(VERSION) --build-arg TORCH_INDEX=https://pypi.org/simple \
	    --tag $(IMAGE):$(VERSION)-cuda --tag $(IMAGE):cuda .

bench: $(VENV)/installed-bench
	$(BIN)/python benchmarks/overhead.py

# CURVES is the folder with lcbench/, schedules124m.json.gz and taskset_*.npz (docs/search.md).
bench-search: $(VENV)/installed-bench
	$(BIN)/python benchmarks/search/run.py $(if $(CURVES),--curves $(CURVES))
	$(BIN)/python benchmarks/search/pruning.py $(if $(CURVES),--curves $(CURVES))

chaos: $(VENV)/installed-test
	$(BIN)/python benchmarks/chaos.py
	$(BIN)/python benchmarks/chaos.py --only fleet --database sqlite

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/installed-cluster: $(VENV)/installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,slurm,ray,kubernetes]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

clean:
	rm -rf $(VENV)
