# `make help` lists the targets.
PYTHON ?= python3
CAMPAIGN ?= flows/campaigns/hmmt.yaml
BIN := .venv/bin

.PHONY: help setup run test lint format bench contract clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: .venv/.ready ## make the environment in .venv

run: setup ## set up and run a campaign: make run CAMPAIGN=my.yaml
	$(BIN)/pacore run $(CAMPAIGN)

test: setup ## set up and run all tests; those that need a server that is not here say so
	$(BIN)/pytest -rs

contract: setup ## install the real servers that the contract tests speak to: vLLM on the CPU, moto
	tests/contract/setup_vllm.sh .venv-vllm
	tests/contract/setup_moto.sh .venv-moto

lint: setup ## format check, lint, strict types, import directions
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## format and mend what can be mended
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: setup ## measure against the bare minimum, on the simulator (about 15 minutes)
	$(BIN)/python -m tests.benchmarks.bench

clean: ## remove the environments
	rm -rf .venv .venv-vllm .venv-moto
