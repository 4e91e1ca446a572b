# Two commands do all the set-up: `make demo` and `make test`. Both build .venv from the pinned lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SPARK_READY := $(VENV)/.spark_ready

.PHONY: demo test test-slow test-spark test-stack bench lint docs links lock clean
.DEFAULT_GOAL := help

help:
	@echo "make demo [DATA=PATH]   rows -> trained model -> export -> server -> ranked candidates"
	@echo "make test               the tests of every day"
	@echo "make test-slow          those that take minutes"
	@echo "make test-spark         scoring on Apache Spark, which is installed for it; needs Java 17"
	@echo "make test-stack         docker compose up and the rest on a Docker engine, if one answers (minutes)"
	@echo "make bench              every benchmark against the committed ratios; 40 minutes of a quiet machine"
	@echo "make lint               ruff and mypy"
	@echo "make docs               the documentation as a site in build/site, with its tutorial executed"
	@echo "make lock               resolve requirements.lock and requirements-runtime.lock again from setup.py"

# uv takes a tenth of pip's time; where it cannot be had, or does not find what pip is set up to find, pip does the work.
UV := uv==0.13.9
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python -r $(1) || \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(1)

$(READY): requirements.lock setup.py pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.10 to 3.13 or set PYTHON=..."; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' || { echo "Python 3.10 to 3.13 is needed, $(PYTHON) is another: set PYTHON=..."; exit 2; }
	@echo "Installing into $(VENV) (once; a minute, or a few where the connection is slow) ..."
	@$(PYTHON) -m venv $(VENV)
	@-$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	@$(call INSTALL,requirements.lock)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)
	@$(BIN)/htlnet demo $(if $(DATA),--data "$(DATA)")

test: $(READY)
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not docker and not spark" $(ARGS)

test-slow: $(READY)
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow and not docker and not spark" $(ARGS)

# Spark is 450 MB and only these tests need it: it has a lock of its own.
$(SPARK_READY): $(READY) requirements-spark.lock
	@echo "Installing Spark into $(VENV) (once) ..."
	@$(call INSTALL,requirements-spark.lock)
	@touch $@

test-spark: $(SPARK_READY)
	@$(BIN)/python -m pytest -n 0 -m spark $(ARGS) tests/serving/test_spark.py

test-stack: $(READY)
	@$(BIN)/python -m pytest -n 0 -m docker $(ARGS) tests/serving/test_docker.py

# make bench ARGS=--update commits the ratios that were measured.
bench: $(READY)
	@$(BIN)/htlnet bench all $(ARGS)

lint: $(READY) links
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@cd build/types && $(CURDIR)/$(BIN)/mypy --config-file ../../pyproject.toml -p htlnet_tf

# Without the variable the theme advertises a successor of MkDocs at every build.
docs: $(READY) links
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# mypy and the API reference want the packages where they are imported from: they see export/ and serving/ through links.
links:
	@rm -rf build/types && mkdir -p build/types/htlnet_tf
	@ln -s $(CURDIR)/htlnet_tf/* $(CURDIR)/benchmarks $(CURDIR)/configs $(CURDIR)/export $(CURDIR)/serving build/types/htlnet_tf/

# The second lock is for the trainer's image: the same versions, without tests, linters and tuning.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate --no-emit-index-url
lock: $(READY)
	@$(BIN)/python -m pip install --quiet $(UV)
	@$(LOCK) --extra dev setup.py lock.in -o requirements.lock
	@$(LOCK) --constraints requirements.lock setup.py lock.in -o requirements-runtime.lock

clean:
	rm -rf $(VENV) *.egg-info build dist
