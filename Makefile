# make demo     pictures under a budget, in one minute (install aside)
# make up       the whole system on this machine, until Ctrl-C
# make test     lint, types, import rules, the whole test suite
# make check    the same without the tests
# make bench-soak    memory over ten thousand requests, a tenth of them cancelled
# make bench-engine  what a turn of the engine costs outside the network call; BENCH_ARGS=... adds options
# make bench-memory  the most memory that the engine takes against the stock pipeline; BENCH_ARGS=... adds options
# make bench-budget  budgets against fixed steps under load, about twenty minutes; BENCH_ARGS=... adds options
# make bench-serving Pacer against other servers under load, about an hour; BENCH_ARGS=... adds options
# make format   lay out the code as `make check` wants it
# make install  only the virtual environment
#
# PYTHON=...             which interpreter makes the environment
# PACER_TORCH_INDEX=...  which package index torch is taken from

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST_ARGS ?=
BENCH_ARGS ?=
# The packages of the servers that Pacer is compared with, on top of the environment's own.
PEERS := $(VENV)/peers

.PHONY: help install demo up test check format clean bench-soak bench-engine bench-memory bench-budget bench-serving

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed '/^$$/,$$d'

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt scripts/venv.sh
	@scripts/venv.sh $(VENV)
	@touch $@

demo: $(STAMP)
	@$(BIN)/python -m scripts.demo

up: $(STAMP)
	@$(BIN)/pacer up

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# One thread per process: the tests run one after the other, but some of them start several processes of their own.
test: check
	@scripts/browser.sh
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/pytest $(PYTEST_ARGS)

bench-soak: $(STAMP)
	$(BIN)/python -m benchmarks.soak $(BENCH_ARGS)

bench-engine: $(STAMP)
	$(BIN)/python -m benchmarks.engine --json benchmarks/results/engine.json $(BENCH_ARGS)

bench-memory: $(STAMP)
	$(BIN)/python -m benchmarks.memory --json benchmarks/results/memory.json $(BENCH_ARGS)

bench-budget: $(STAMP)
	$(BIN)/python -m benchmarks.budget $(BENCH_ARGS)

# Without the peers' packages the benchmark still runs, and says whom it skips.
bench-serving: $(STAMP)
	@benchmarks/serving/install_peers.sh $(VENV) $(PEERS) || echo "the peers' packages could not be installed" >&2
	$(BIN)/python -m benchmarks.serving --peers-python $(PEERS)/bin/python $(BENCH_ARGS)

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) out .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
