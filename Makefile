# Needs make, git and Python 3.11 to 3.13; everything else is fetched into .venv.
# To choose the Python: make PYTHON=/path/to/python3.12 results
# To try a study quickly: make pairs STUDY="--seeds 1 --train-images 2000"

PY = .venv/bin/python
NOTEBOOK = src/notebooks/quantization_and_pruning.ipynb
PARAMETERS =
NETS =
LAB =
PAIRS =
STUDY =
COMMA = ,
MODELS =
MINUTES =
PEERS = peer-models

help: ## list the targets
	@awk -F ': .*## |: ## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

results: env ## run the notebook, write results/   (PARAMETERS="-p FINAL_SPARSITY 0.9")
	$(PY) -m model_compression.notebook.run $(PARAMETERS)

fashion: env ## the same study on Fashion-MNIST, into results/fashion_mnist
	$(PY) -m model_compression.notebook.run -p DATASET fashion_mnist -p RESULTS_DIR results/fashion_mnist \
		-p MODELS_DIR models/fashion_mnist $(PARAMETERS)

test: env ## ruff, mypy, import-linter, codespell, pytest
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	.venv/bin/lint-imports --no-cache --no-logo
	.venv/bin/codespell
	$(PY) -m pytest

lab: env ## open the notebook in JupyterLab   (LAB=--allow-root, in a container)
	$(PY) -m jupyter lab $(LAB) $(NOTEBOOK)

study: env ## run the comparison of many seeds and nets   (NETS=lenet_5,lenet_300_100)
	$(PY) -m model_compression.frontier.study $(or $(subst $(COMMA), ,$(NETS)),study) $(STUDY)

pairs: env ## the same forms on five pairs of data and net   (PAIRS=mnist1d-cnn_1d)
	$(PY) -m model_compression.frontier.study $(or $(subst $(COMMA), ,$(PAIRS)),pairs) $(STUDY)

rotated: env ## all forms once on a second test set that nothing was chosen on
	$(PY) -m model_compression.frontier.study rotated $(STUDY)

peers: env ## slim published .tflite files   (PEERS=folder)
	$(PY) benchmarks/peers.py "$(PEERS)"

own-models: env ## the command beside other tools on eight models   (MODELS=mnist1d-cnn_1d MINUTES=5)
	$(PY) benchmarks/own_models.py $(if $(MODELS),--models $(subst $(COMMA), ,$(MODELS))) \
		$(if $(MINUTES),--minutes $(MINUTES))

bench: env ## run the benchmarks, benchmarks/bench_*.py
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(PY) "$$file" || exit 1; done

env: ## bring .venv in line with Pipfile.lock (the other targets do this first)
	@PYTHON='$(PYTHON)' sh scripts/environment.sh sync

lock: ## renew Pipfile.lock from Pipfile, hashes kept, addresses left out
	@PYTHON='$(PYTHON)' sh scripts/environment.sh lock

clean: ## remove .venv and the tools' caches (never data, models or results)
	rm -rf .venv .venv-unfinished .pipenv .mypy_cache .pytest_cache .ruff_cache src/*.egg-info

.PHONY: help results fashion test lab study pairs rotated peers own-models bench env lock clean
