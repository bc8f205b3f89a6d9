# lambdad. `make` lists what there is to do.

VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup up down test demo bench faults chaos test-compose lint types contracts format docs lock clean

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## everything that this checkout needs, pinned by hash; repeating it costs nothing
	@python=$$(deploy/local/find_python.sh) && "$$python" -m deploy.local.bootstrap

up: ## start the cluster and leave it running (ARGS="--port 9001 --workers 2")
	@case "$$(id -u) $(ARGS) $$LAMBDAD_WORKER__ISOLATION" in "0 "*|*" rootless"|*--engines-only*|*"--workers 0"*|*"--workers=0"*) ;; *) \
	echo "lambdad must be started by root: a worker gives every function a user and limits of its own. Start it with sudo." \
	"LAMBDAD_WORKER__ISOLATION=rootless names a weaker level that takes no root (SECURITY.md)." >&2; \
	exit 2;; esac
	@$(MAKE) --no-print-directory setup
	@$(BIN)/lambdad up --detach $(ARGS)

down: ## stop the cluster; its state is kept
	@if [ -x $(BIN)/lambdad ]; then $(BIN)/lambdad down $(ARGS); else echo "Nothing is set up here."; fi

# Two processes, each with engines and a cluster of its own; files in their order, for the slow ones come first.
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder

test: setup ## all tests that this machine has the runtimes for, on the real engines (ARGS="tests/unit -k arn")
	@$(BIN)/python -m pytest $(or $(ARGS),$(SIDE_BY_SIDE))

demo: setup ## deploy a function and invoke it in every way; starts the cluster if needed
	@$(BIN)/python -m deploy.local.demo $(ARGS)

bench: setup ## the benchmarks beside their peers (NAME=warm-latency for one of them)
	@$(BIN)/python -m tests.bench $(NAME) $(ARGS)

faults: setup ## 1,000 random faults, 1,000 environments with a network, and what is left (FAULTS=100 ENVIRONMENTS=100: fewer)
	@FAULTS=$(or $(FAULTS),1000) ENVIRONMENTS=$(or $(ENVIRONMENTS),1000) $(BIN)/python -m pytest -s \
	tests/chaos/test_faults.py tests/integration/network/test_slots.py::test_many_environments_leave_nothing_behind

chaos: setup ## everything that can be done to a cluster under load, half an hour, and docs/chaos.md from it (NAME=killed: those alone)
	@$(BIN)/python -m tests.chaos $(NAME) $(ARGS)

test-compose: setup ## build the images, run docker-compose.yml, drive it, stop it
	@deploy/docker/test_compose.sh

lint: setup ## ruff: rules and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup ## mypy, strict
	@$(BIN)/mypy

contracts: setup ## who may import whom, and that no import runs in a circle
	@$(BIN)/lint-imports

format: setup ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

docs: setup ## write the pages that are made from code: in docs/, settings, metrics, state-machines and conformance
	@$(BIN)/python -m docs.settings_reference && $(BIN)/python -m docs.metrics_reference && $(BIN)/python -m docs.state_machines && $(BIN)/python -m tests.conformance.report

lock: setup ## pin everything anew: requirements/*.txt from pyproject.toml and requirements/*.in, kafka.lock
	@$(BIN)/python -m deploy.local.lock

clean: ## remove what setup and the tools made; a cluster's state in .lambdad stays
	rm -rf $(VENV) .runtimes .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find services shared deploy tests -name __pycache__ -type d -prune -exec rm -rf {} +
