# Needs Python 3.11 or newer, git and make. Everything else goes into .venv, once.

SHELL := /bin/sh
CHAPTER_0 := notebooks/00_the_result_in_five_minutes.ipynb
JOBS ?= 2
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c \
	'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done; echo python3)

# One thread a process that waits without spinning: OpenMP's defaults make two
# processes on two cores 5 to 15 times slower.
export OMP_WAIT_POLICY ?= PASSIVE
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
# The tiny scale downloads nothing. For t4 and full: make run HF_HUB_OFFLINE=0
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1

IN_VENV := PATH="$$PWD/.venv/bin:$$PATH" PYTHONPATH= python -m

.PHONY: help setup run test lab bench clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/.installed  ## create .venv and install the project, once

run: setup  ## the headline experiment at the tiny scale
	$(IN_VENV) sftrl_lite run

test: export SFTRL_SCALE = tiny
test: setup  ## lint, unit tests, every notebook
	$(IN_VENV) ruff check
	$(IN_VENV) ruff format --check
	$(IN_VENV) pytest -n $(JOBS)
	$(if $(wildcard notebooks/*.ipynb),$(IN_VENV) pytest --nbmake --nbmake-timeout=1800 -n $(JOBS) notebooks)

lab: setup  ## JupyterLab, opened at chapter 0
	$(IN_VENV) jupyterlab $(CHAPTER_0)

bench: setup  ## time the parts that matter
	$(IN_VENV) sftrl_lite.bench

clean:  ## remove .venv and caches; keep runs, data and results
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find sftrl_lite tests notebooks -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "setup: '$(PYTHON)' is not Python 3.11 or newer; name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv >/dev/null 2>&1 || \
		{ echo "setup: $(PYTHON) cannot create .venv; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing into .venv, once; this takes some minutes (log: .venv/install.log)"
	@.venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test]' \
		>.venv/install.log 2>&1 || \
		{ echo "setup: pip failed: $$(grep -iE 'connection|resolution|^ERROR' .venv/install.log | head -n 1)" >&2; exit 1; }
	@touch $@
