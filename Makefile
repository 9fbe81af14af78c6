# `make help` lists the targets.
PYTHON ?= python3
CAMPAIGN ?= flows/campaigns/hmmt.yaml
BIN := .venv/bin

.PHONY: help setup quickstart run test lint format bench chaos gates contract clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: .venv/.ready ## make the environment in .venv

quickstart: setup ## set up and run campaigns on the model that ships with the project (a few minutes)
	$(BIN)/pacore run flows/campaigns/quickstart-countdown.yaml
	$(BIN)/pacore run flows/campaigns/quickstart-arithmetic.yaml
	$(BIN)/pacore report flows/campaigns/quickstart-countdown.yaml --plot
	@echo 'The Prefect UI has both runs: $(BIN)/prefect server start, then http://127.0.0.1:4200'

run: setup ## set up and run a campaign: make run CAMPAIGN=my.yaml
	$(BIN)/pacore run $(CAMPAIGN)

test: setup ## set up and run all tests; those that need a server that is not here say so
	$(BIN)/pytest -rs

contract: setup ## install what the contract tests speak to: vLLM on the CPU, moto, a harness, verl, the driver of a browser
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,browser]'
	tests/contract/setup_vllm.sh .venv-vllm
	tests/contract/setup_moto.sh .venv-moto
	tests/contract/setup_harness.sh .venv-harness
	tests/contract/setup_verl.sh .venv-verl .venv-vllm

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

chaos: setup ## kill campaigns in every way there is and count what is lost (about 40 minutes); make chaos SEED=7
	$(BIN)/python -m tests.chaos --seed $(or $(SEED),0)

gates: setup ## measure what the shipped model gains by coordination, and the controls (about 15 minutes)
	$(BIN)/python -m flows.gates

clean: ## remove the environments
	rm -rf .venv .venv-vllm .venv-moto .venv-harness .venv-verl
