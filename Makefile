PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

BROWSERS := chromium chromium-browser google-chrome google-chrome-stable

.PHONY: demo test browser lint bench docs smoke banks clean

demo: $(INSTALLED)  ## train on Breakout beside a plain DQN, and compare (about 6 minutes)
	$(BIN)/python examples/demo.py

test: $(INSTALLED) browser  ## the tests
	$(BIN)/python -m pytest

browser:  ## a browser for the tests of pages: the one on PATH, else Debian's Chromium
	@for name in $(BROWSERS); do command -v $$name > /dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium; \
	else \
		echo "The tests of pages need a browser: put one of $(BROWSERS) on PATH, with" >&2; \
		echo "sudo apt-get install chromium or as your system has it." >&2; exit 1; \
	fi

lint: $(INSTALLED)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)  ## the figures in benchmarks/results
	$(BIN)/python -m benchmarks.stepping
	$(BIN)/python -m benchmarks.retro_stepping
	$(BIN)/python -m benchmarks.import_time
	$(BIN)/python -m benchmarks.vector
	$(BIN)/python -m benchmarks.update
	$(BIN)/python -m benchmarks.pairwise_update
	$(BIN)/python -m benchmarks.rainbow
	$(BIN)/python -m benchmarks.buffer
	$(BIN)/python -m benchmarks.extraction
	$(BIN)/python -m benchmarks.readers
	$(BIN)/python -m benchmarks.banks
	$(BIN)/python -m benchmarks.planner
	$(BIN)/python -m benchmarks.retro_planner
	$(BIN)/python -m benchmarks.checkpoints
	$(BIN)/python -m benchmarks.similarity_forms
	$(BIN)/python -m benchmarks.similarity_learning
	$(BIN)/python -m benchmarks.similarity_size
	$(BIN)/python -m benchmarks.learning
	$(BIN)/python -m benchmarks.shared_batches
	$(BIN)/python -m benchmarks.retro_learning
	$(BIN)/python -m benchmarks.soak
	$(BIN)/python -m benchmarks.gpu_throughput
	$(BIN)/python -m benchmarks.page

docs: $(INSTALLED)  ## the documentation, in docs/_build
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build

smoke: $(INSTALLED)  ## every example and benchmark at its smallest
	$(BIN)/python examples/quickstart.py --smoke
	$(BIN)/python examples/existing_sb3_script.py --smoke
	$(BIN)/python examples/any_discrete_env.py --smoke
	$(BIN)/python examples/rainbow.py --smoke
	$(BIN)/python examples/many_environments.py --smoke
	$(BIN)/python examples/ablation.py --smoke --output build/ablation
	$(BIN)/masp sweep examples/sweep.toml --dry-run
	$(BIN)/python examples/experiments/small_problems.py --smoke --output build/small_problems.csv
	$(BIN)/python examples/experiments/minatar_games.py --smoke --output build/minatar_games.csv
	$(BIN)/python examples/experiments/atari_ram.py --smoke --output build/atari_ram.csv
	$(BIN)/python examples/experiments/atari_pixels.py --smoke --folder build/atari_pixels --output build/atari_pixels.csv
	$(BIN)/python examples/experiments/ablations.py --smoke --output build/ablations.csv
	$(BIN)/python examples/experiments/game_transfer.py --smoke --output build/minatar_transfer.csv
	$(BIN)/python examples/experiments/game_transfer.py --home atari --smoke --output build/atari_transfer.csv
	$(BIN)/python examples/credit/key_to_door.py --smoke --output build/credit_key_to_door.csv
	$(BIN)/python examples/credit/dag.py --smoke --output build/credit_dag.csv
	$(BIN)/python examples/credit/bsuite_regret.py --smoke --output build/credit_bsuite_regret.csv
	$(BIN)/python examples/credit/minatar_games.py --smoke --output build/credit_minatar_games.csv
	$(BIN)/python examples/demo.py --smoke --output build/demo
	$(BIN)/python examples/street_fighter.py --smoke --game Airstriker-Genesis-v0 --k 0 --output build/street_fighter
	$(BIN)/python -m benchmarks.stepping --smoke --output build/stepping.json
	$(BIN)/python -m benchmarks.retro_stepping --smoke --output build/retro_stepping.json
	$(BIN)/python -m benchmarks.import_time --smoke --output build/import_time.json
	$(BIN)/python -m benchmarks.vector --smoke --output build/vector.json
	$(BIN)/python -m benchmarks.update --smoke --output build/update.json
	$(BIN)/python -m benchmarks.pairwise_update --smoke --output build/pairwise_update.json
	$(BIN)/python -m benchmarks.rainbow --smoke --output build/rainbow.json
	$(BIN)/python -m benchmarks.buffer --smoke --output build/buffer.json
	$(BIN)/python -m benchmarks.gpu_throughput --smoke --output build/gpu_throughput.json
	$(BIN)/python -m benchmarks.extraction --smoke --output build/extraction.json
	$(BIN)/python -m benchmarks.readers --smoke --output build/readers.json
	$(BIN)/python -m benchmarks.checkpoints --smoke --output build/checkpoints.json
	$(BIN)/python -m benchmarks.similarity_forms --smoke --output build/similarity_forms.json
	$(BIN)/python -m benchmarks.similarity_learning --smoke --output build/similarity_learning.json
	$(BIN)/python -m benchmarks.similarity_size --smoke --output build/similarity_size.json
	$(BIN)/python -m benchmarks.learning --smoke --output build/learning_smoke.json
	$(BIN)/python -m benchmarks.shared_batches --smoke --output build/shared_batches.json
	$(BIN)/python -m benchmarks.retro_learning --smoke --folder build/retro_learning_smoke --output build/retro_learning.json
	$(BIN)/python -m benchmarks.soak --smoke --output build/soak.json
	$(BIN)/python -m benchmarks.banks --smoke --output build/banks.json
	$(BIN)/python -m benchmarks.planner --smoke --output build/planner.json
	$(BIN)/python -m benchmarks.retro_planner --smoke --output build/retro_planner.json

banks: $(INSTALLED)  ## play every game and mine its bank; what is there is kept (hours)
	$(BIN)/python -m macro_gym.banks.make

clean:
	rm -rf .venv build docs/_build

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
