# Everything runs in a virtual environment of its own; `make demo` and `make test` make it first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo-data
# What the container image is built on, and which extras it has.
BASE ?= python:3.11-slim-bookworm
IMAGE_EXTRAS := sftp s3 otel campaign web
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# What installs packages; CI names a faster one. Modules are compiled when they are first imported.
INSTALL ?= $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
export PYTHONDONTWRITEBYTECODE =
# More processes than cores: many tests wait for a service. Files of few, long tests start first.
WORKERS ?= $(shell expr $$(nproc) + 2)
PYTEST := $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow"
LONG_FIRST := tests/campaign/test_spark.py benchmarks tests/end_to_end tests/plan tests/client tests/web tests/server

.DEFAULT_GOAL := help
.PHONY: help venv demo check docs check-docs changed test tests test-slow wheel lint types proto check-proto format bench bench-quick bench-web soak faults image lock clean

help:  ## Say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# What running needs, and what development needs besides, in one environment.
$(BIN)/.run: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "numroute needs Python 3.11 or newer; set PYTHON=python3.x" >&2; exit 1; }
	[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[loader]'
	@touch $@

$(BIN)/.dev: $(BIN)/.run
	$(INSTALL) 'pip>=25.1'
	$(INSTALL) --editable '.[loader,sftp,replicas,otel,campaign,spark,fast,web]' --group dev
	@touch $@

venv: $(BIN)/.dev  ## Set up the environment for development

demo: $(BIN)/.run  ## Generate a registry, build a snapshot, serve it, look numbers up, stop
	@$(BIN)/python deploy/demo.py --folder $(DEMO)

# The folders of tests that go with the changes since the last commit on main.
CHANGED = $(filter-out tests/support,$(wildcard $(sort $(shell { git diff --name-only main 2>/dev/null || git diff --name-only HEAD; \
  git ls-files -o --exclude-standard; } | sed -nE 's,^(service/numroute|tests)/([a-z0-9]+)/.*,tests/\2,p; \
  s,^(loader|campaign|web)/.*,tests/\1,p'))))

check: venv  ## Lint, types and the tests of what changed since main, else the core's
	@+$(MAKE) --no-print-directory --jobs 3 --output-sync lint types changed

changed: venv
	$(PYTEST) -q $(or $(CHANGED),tests/e164 tests/index)

test: venv lint types check-proto check-docs tests  ## Everything that must pass; T=index for one folder of tests

tests: venv  ## The tests alone
	$(PYTEST) $(if $(T),tests/$(T),$(LONG_FIRST) tests)

test-slow: venv  ## The minutes-long tests: a larger month of a registry, and others
	$(BIN)/pytest -m slow --durations=0

wheel: venv  ## Install the wheel into empty environments; say seconds and MB (7 minutes)
	$(BIN)/pytest -m "slow or not slow" -rP tests/end_to_end/test_wheel.py

lint: venv  ## ruff, the import contracts, the wire contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf breaking --against protos/released.binpb

CLIENT := $(addprefix service/numroute/,client __init__.py certificates.py entry.py errors.py files.py model.py wire.py)

types: venv  ## mypy, strict; the client also for Python 3.10
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 --follow-imports silent $(CLIENT)

proto: venv  ## Generate service/numroute/v1 from the wire contract
	$(BIN)/python protos/generate.py

docs: venv  ## Generate the reference pages under docs/reference from the code
	$(BIN)/python docs/generate.py

check-docs: venv  ## Fail when a reference page is stale
	$(BIN)/python docs/generate.py --check

check-proto: venv  ## Fail when the generated code differs from the wire contract
	$(BIN)/python protos/generate.py --check

format: venv  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: venv  ## Measure at full size: 50 million ported numbers (12 GB of disk, 40 minutes)
	$(BIN)/python -m benchmarks --full $(BENCH)

soak: venv  ## Load the service for an hour with a change of snapshot each minute (SOAK="--minutes 5")
	$(BIN)/python -m benchmarks service.soak $(SOAK)

bench-quick: venv  ## Measure with 1 million ported numbers (1 GB of disk, 6 minutes)
	$(BIN)/python -m benchmarks --quick $(BENCH)

bench-web: venv  ## Measure lookups and lists over HTTP beside a constant handler and the command
	$(BIN)/python -m benchmarks web --quick $(BENCH)

faults: venv  ## Kill commands that change a store at 200 random points and check it after each (3 minutes)
	@folder=$$(mktemp -d) && $(BIN)/python tests/end_to_end/faults/killing.py --points 200 --folder $$folder \
	  --report benchmarks/results/faults.json; status=$$?; rm -rf $$folder; exit $$status

image:  ## Build the container image on the digest that its base has now (needs docker)
	docker pull --quiet $(BASE)
	docker build --file deploy/Dockerfile --tag numroute:$(VERSION) \
	  --build-arg BASE=$$(docker image inspect --format '{{index .RepoDigests 0}}' $(BASE)) .

lock: $(BIN)/.run  ## Renew the image's locked dependencies, deploy/requirements
	$(INSTALL) 'pip>=25.1'
	$(INSTALL) --group lock
	$(BIN)/python deploy/lock.py $(IMAGE_EXTRAS)

.PHONY: fuzz
fuzz: venv  ## Attack the service for minutes: hostile frames, random bytes; it must not grow
	$(BIN)/pytest -m slow -rP --timeout 900 tests/server/test_fuzz.py

clean:  ## Remove the virtual environment, caches and the demo's data
	rm -rf $(VENV) $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
