# Two commands do everything: `make demo` and `make test`. PYTHON names another interpreter (3.11 or newer).

PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell command -v $(name) >/dev/null 2>&1 && $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $(name))))
VENV := .venv
BIN := $(VENV)/bin

# Most tests wait, so that several at once take little more of a machine. A file stays with one process, which keeps
# its servers; files go in their order, as the long ones come early. `make test TEST_JOBS=0` runs one after the other.
TEST_JOBS ?= 2
SIDE_BY_SIDE := --numprocesses $(TEST_JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: demo test lint bench clean

demo: $(VENV)/run.stamp
	$(BIN)/penstock demo --open

test: $(VENV)/dev.stamp lint
	@tests/install-parts
	$(BIN)/pytest $(SIDE_BY_SIDE)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/bench.stamp
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Penstock needs Python 3.11 or newer; name it with make PYTHON=/path/to/python."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The demo needs the package only; the tests need everything.
$(VENV)/run.stamp: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# The peers that are measured beside us, Gradio among them, are large.
$(VENV)/bench.stamp: $(VENV)/dev.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/run.stamp
