# Everything happens in .venv; nothing outside this folder is changed, but for the targets that say so.
# A Python that is named (make test PYTHON=python3.12, or any path) has a .venv-3.12 of its own.
ifeq ($(origin PYTHON),undefined)
PROGRAM := python3
VENV := .venv
else
NAMED := $(shell .ci/python '$(PYTHON)')
PROGRAM := $(or $(wordlist 2,9,$(NAMED)),false)
VENV := .venv-$(firstword $(NAMED))
# Another build of the same version takes the other's place.
OTHER := $(shell grep -qsxF 'executable = $(PROGRAM)' $(VENV)/pyvenv.cfg || echo other)
endif
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
NEEDS := Portico needs Python 3.11 or newer, and is tested on 3.11 to 3.13; name one: make PYTHON=python3.12 $(MAKECMDGOALS)

.DEFAULT_GOAL := help
.PHONY: help run test unit package dist sbom cut first fuzz check format bench flame stress soak scale chaos conformance apps docs docs-serve outdated debian clean other
MINUTES ?= 10
DOCS_PORT ?= 8090
# More than there are cores: most tests wait for something most of the time.
JOBS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) * 4 )))
# Without compiled files each of these would compile all tests anew, which takes it seven seconds.
unexport PYTHONDONTWRITEBYTECODE

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/run ## Start three sample services and the gateway; Ctrl-C stops them
	@$(BIN)/portico demo

test: $(VENV)/collected ## Run every test
	@$(BIN)/pytest -n $(JOBS) --dist worksteal

unit: $(VENV)/collected ## Run all tests but tests/live, which start gateways and take most of the time
	@$(BIN)/pytest -n $(JOBS) --dist worksteal --ignore tests/live

package: $(VENV)/release ## Build sdist and wheel, install them in fresh environments and as the image does, and use what is there
	@PORTICO_FRESH=1 $(BIN)/pytest -n 2 --dist loadfile tests/live/test_package.py tests/live/test_image.py tests/live/test_generated_client.py tests/deploy/test_compose.py

dist: $(VENV)/release ## Build sdist and wheel into dist/, byte by byte the same for the same commit
	@$(BIN)/python -m tools.dist

sbom: dist ## Write dist/*.cdx.json: what an installation with all extras consists of (CycloneDX)
	@$(BIN)/python -m tools.sbom

cut: $(VENV)/run ## Give what is unreleased a version and a date: make cut VERSION=0.2.0
	@$(BIN)/python -m tools.cut $(VERSION)

first: ## Measure from git clone to the first answer, and from pip install to the first own route
	@$(PROGRAM) -m tools.first

fuzz: $(VENV)/dev ## Try random input for MINUTES (10); SEED repeats a run
	@PYTHONPATH=tests $(BIN)/python -m fuzz --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

check: $(VENV)/dev ## Lint, type-check, and build the documentation, whose links have to lead somewhere
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@PYTHONPATH=tests $(BIN)/python -m documentation --check

format: $(VENV)/dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/bench ## Measure Portico beside the peers that are installed (13 minutes)
	PYTHONPATH=tests $(BIN)/python -m benchmarks

flame: $(VENV)/bench ## Draw where the CPU of a request goes; writes docs/performance.md
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.flame

stress: $(VENV)/dev ## Hold one worker under slow, endless, greedy, vanishing and very many clients; 14 minutes
	PYTHONPATH=tests $(BIN)/python -m benchmarks.stress

scale: $(VENV)/dev ## Measure what grows with routes, instances, consumers, beside an older build; writes docs/performance.md; half an hour
	PYTHONPATH=tests $(BIN)/python -m benchmarks.scale

soak: $(VENV)/dev ## Mixed load, reloads and faults for MINUTES (60); fails where a process of the gateway keeps growing
	PYTHONPATH=tests $(BIN)/python -m benchmarks.soak $(if $(filter command environment,$(firstword $(origin MINUTES))),--minutes $(MINUTES))

chaos: $(VENV)/dev ## Break instances, workers and gateways under load and count what clients see; 14 minutes
	@PYTHONPATH=tests $(BIN)/python -m chaos

conformance: $(VENV)/dev ## Play the cases of HTTP and its caching to Portico and peers; writes docs/conformance.md, docs/caching.md
	@PYTHONPATH=tests $(BIN)/python -m conformance

apps: $(VENV)/dev ## Drive real applications behind Portico (APPS="streamlit dash": these); writes docs/applications.md; 30 minutes
	@PYTHONPATH=tests $(BIN)/python -m apps $(APPS) $(if $(BARE),--bare)

docs: $(VENV)/dev ## Write docs/reference from the code and build the documentation as a site, into build/documentation/site
	@PYTHONPATH=tests $(BIN)/python -m documentation

docs-serve: docs ## The same, and serve it on this machine until Ctrl-C
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/documentation/site $(DOCS_PORT)

outdated: $(VENV)/bench ## List the pins in constraints.txt that have a newer release
	@installed=$$($(BIN)/python -m pip list --outdated) || exit 1; echo "$$installed" | awk \
		'NR == FNR {split($$1, pin, "=="); pins[pin[1]]; next} \
		$$1 in pins {print $$1, $$2, "->", $$3; behind = 1} \
		END {if (!behind) print "Every pin is the newest release."}' constraints.txt -

debian: ## Install what some tests and the benchmark use beside pip packages (root, Debian)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx-light libnginx-mod-http-lua lua-cjson haproxy varnish caddy wrk chromium prometheus

clean: ## Remove the virtual environments and all caches
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist

$(VENV)/run: pyproject.toml constraints.txt $(OTHER)
	@$(PROGRAM) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(NEEDS)"; exit 1; }
	@echo "Setting up $(VENV) (once)"
	@$(if $(OTHER),,$(BIN)/python -c '' 2>/dev/null ||) $(PROGRAM) -m venv --clear $(VENV)
	@$(PIP) install --no-compile --constraint constraints.txt --editable .
	@touch $@

$(VENV)/dev: $(VENV)/run
	@$(PIP) install --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/release: $(VENV)/dev
	@$(PIP) install --no-compile --constraint constraints.txt --editable '.[release]'
	@touch $@

# Each of JOBS processes would compile all tests for itself, as they begin together: that is a fifth of a first run.
$(VENV)/collected: $(VENV)/dev $(shell find tests examples -name '*.py')
	@$(BIN)/pytest --collect-only -qq tests/live >/dev/null & \
		$(BIN)/pytest --collect-only -qq --ignore tests/live >/dev/null; wait; touch $@

$(VENV)/bench: $(VENV)/dev
	@$(PIP) install --constraint constraints.txt --editable '.[bench]' || echo "py-spy is not there for this machine: it will be missing"
	@touch $@
