# ScaleLab's commands. Without make (Windows): README.md, "Without make".
PYTHON ?= $(shell command -v python3 || command -v python)
BIN := $(if $(filter Windows_NT,$(OS)),.venv/Scripts,.venv/bin)
SUITE ?= road serving_levers data_engines cost training
TIER ?= laptop
OUT ?= runs/bench
PYTEST_ARGS ?=
LAB_ARGS ?=
LABS ?= my-labs
BENCH_ARGS ?=
JOBS ?= 2
# the longest first, so that the last one to end is short
LONG := hostile labs bench grader train compress serve
TEST_FOLDERS := $(LONG) $(filter-out $(LONG) __pycache__,$(notdir $(patsubst %/,%,$(wildcard tests/*/))))
OUTPUT_SYNC := $(if $(findstring output-sync,$(.FEATURES)),--output-sync=target)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lab bench lint format clean system-packages

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{ printf "%-24s%s\n", $$1, $$2 }'

setup: ## make .venv with everything in it (safe to run again, resumes after an interruption)
	@$(PYTHON) scripts/setup.py --extras dev

demo: ## set up what the demo needs, run the road end to end, and show where the page is
	@$(PYTHON) scripts/setup.py --extras bench
	@$(BIN)/scalelab demo

test: setup ## run every test this machine can run, JOBS=2 folders at a time; says what it could not, and what brings it
	@$(MAKE) --no-print-directory --keep-going -j$(JOBS) $(OUTPUT_SYNC) $(addprefix test-,$(TEST_FOLDERS)) BIN=$(BIN)
	@$(BIN)/python -m pytest tests/test_architecture.py $(PYTEST_ARGS)

test-%: # one folder of tests/, in a process of its own
	@$(BIN)/python -m pytest tests/$* $(PYTEST_ARGS)

lab: ## copy the labs to LABS=my-labs (what is there stays) and open JupyterLab (LAB_ARGS=... are passed on)
	@$(PYTHON) scripts/setup.py --extras bench,lab
	@$(BIN)/scalelab lab start all --folder $(LABS) -- $(LAB_ARGS)

bench: ## run the suites (SUITE="road cost" TIER=laptop for some) into OUT=runs/bench and open their report
	@$(PYTHON) scripts/setup.py --extras bench,data
	@$(BIN)/scalelab bench run $(SUITE) --tier $(TIER) --out $(OUT) --open $(BENCH_ARGS)

lint: setup ## check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: setup ## mend what ruff can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

system-packages: ## install the programs that some tests want: browser, brokers, Prometheus, container tools (Debian, Ubuntu)
	@$(PYTHON) scripts/system_packages.py

clean: ## remove .venv, caches and builds (results in runs/ stay)
	rm -rf .venv dist build .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
