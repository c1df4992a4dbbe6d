# make run    the series, headless        make test   every test
# make lab    JupyterLab                  make lint   ruff over code and notebooks, mypy, order of imports
# make coverage  every test, then what of utils they did not reach: a third slower
# make report  the executed series as a site to read in a browser: runs/<DATASET>/site/index.html
# make bench  each stage against what a user would do instead: benchmarks/README.md
# make growth  the series at 1, 5 and 25 million ratings: the table in docs/scaling.md
# make peers  the environment of other libraries, which the full study is compared with
# make evidence  the full study, written to benchmarks/evidence.md
# make outputs  the outputs of the last complete run, into the committed notebooks
# make clean  executed notebooks and data (never what you put elsewhere)
#
# make run DATASET=ml-latest-small ARCHIVE=path/to.zip PARAMS="EPOCHS=10 SEEDS=[1,2]"
# make lab LAB="--no-browser --port 9999"
# make run TORCH_INDEX=https://download.pytorch.org/whl/cpu  PyTorch without CUDA: 4 GB less
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# As they were given: make would expand what stands on its command line, such as $(shell …).
override DATASET := $(value DATASET)
override ARCHIVE := $(value ARCHIVE)
override PARAMS := $(value PARAMS)
override LAB := $(value LAB)
override TORCH_INDEX := $(value TORCH_INDEX)
export DATASET ARCHIVE PARAMS LAB TORCH_INDEX

.PHONY: help run test coverage lab lint report evidence bench growth peers outputs clean check-machine
.DEFAULT_GOAL := help

# The lines at the top of this file.
help:
	@sed -n 's/^# \{0,1\}//p;/^PYTHON/q' $(firstword $(MAKEFILE_LIST)) | sed '/^PYTHON/d'

run: $(VENV)/.ready
	@$(BIN)/python -m utils.series.runner $${DATASET:+"DATASET=$$DATASET"} $${ARCHIVE:+"ARCHIVE=$$ARCHIVE"} --params "$$PARAMS"

test: $(VENV)/.ready-dev
	@env -u DATASET -u ARCHIVE -u PARAMS $(BIN)/python -m pytest -ra tests

coverage: $(VENV)/.ready-dev
	@env -u DATASET -u ARCHIVE -u PARAMS $(BIN)/python -m pytest -q --cov tests

lab: $(VENV)/.ready
	@set -f; $(BIN)/jupyter lab --ip=127.0.0.1 $$(test "$$(id -u)" -ne 0 || echo --allow-root) $$LAB

lint: $(VENV)/.ready-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy utils
	@$(BIN)/lint-imports

report: $(VENV)/.ready
	@$(BIN)/python -m utils.series.site $${DATASET:+"$$DATASET"}

# MOVIELENS_ARCHIVE, SYNOPSES and POSTER_EMBEDDINGS name real content to study beside the stand-ins.
evidence: $(VENV)/.ready
	@$(BIN)/python -m benchmarks.evidence

# BENCH="--only 05,lists --scale small" measures less.
BENCH ?= --scale full
bench: $(VENV)/.ready
	@$(BIN)/python -m benchmarks.speed $(BENCH)

growth: $(VENV)/.ready
	@$(BIN)/python -m benchmarks.growth

PEERS := benchmarks/peers/.venv
peers: $(PEERS)/.ready

$(PEERS)/.ready: benchmarks/peers/requirements.txt
	@$(MAKE) --no-print-directory check-machine
	@test -x $(PEERS)/bin/python || "$(PYTHON)" -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
	@touch $@

# Copy the outputs of the last complete `make run` into the committed notebooks; the example is run here.
outputs: $(VENV)/.ready
	@mkdir -p runs/examples
	@JUPYTER_PREFER_ENV_PATH=1 $(BIN)/papermill --cwd examples --no-progress-bar examples/your-own-data.ipynb runs/examples/your-own-data.ipynb
	@$(BIN)/python -m utils.series.committed_outputs

clean:
	rm -rf runs data

# A wrong Python or a missing compiler is said in one line, before anything is installed.
check-machine:
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed and no python3 was found. Install python3.11 with its venv and headers."; exit 1; }
	@command -v "$(PYTHON)" >/dev/null || { echo "Python 3.11 is needed and $(PYTHON) was not found. Name one that is there: make PYTHON=/path/to/python3.11"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Python 3.11 is needed, $(PYTHON) is $$("$(PYTHON)" -V 2>&1). Debian: apt-get install python3.11 python3.11-dev python3.11-venv; or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@command -v $${CXX:-c++} >/dev/null || { echo "A C++ compiler is needed (NVTabular builds an extension) and $${CXX:-c++} was not found. Install g++ (Debian: apt-get install g++)."; exit 1; }
	@"$(PYTHON)" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || { echo "Python's headers are needed (NVTabular builds an extension) and Python.h was not found. Debian: apt-get install python3.11-dev"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is needed. Debian: apt-get install python3.11-venv"; exit 1; }

$(VENV)/.ready: requirements.txt constraints.txt
	@$(MAKE) --no-print-directory check-machine
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@echo "Installing into $(VENV): some minutes and 7 GB, once."
	@test -z "$$TORCH_INDEX" || $(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 1 --no-deps --index-url "$$TORCH_INDEX" $$(sed -n 's/^\(torch\(vision\)\{0,1\}==[^ ]*\).*/\1/p' requirements.txt) || echo "$$TORCH_INDEX does not give these builds of PyTorch: they are taken from the usual index."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.ready-dev: requirements-dev.txt $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
