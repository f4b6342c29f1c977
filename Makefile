# Every target sets up what it needs in .venv, from nothing but python3 and make.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Images of Python set it. Each process that a test starts would then compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-slow test-clients lighthouse test-images test-torch test-ray docs format lint fuzz bench bench-plot dist release clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

demo: .venv/installed  ## Start a server, transcribe samples/ through it, stop
	@$(BIN)/python -m samples.demo

serve: .venv/installed  ## Start a server with a key and keep it running (PORT=8000)
	@$(BIN)/python -m samples.serve

PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile
# What comes after :: is one of the file's tests.
TESTS = $(if $(wildcard tests/$(firstword $(subst ::, ,$(ROOM)))),tests/$(ROOM),$(error There is no tests/$(ROOM)))
# pytest ends with 5 where all tests are of the other kind.
NONE = { [ $$? = 5 ] && echo "tests/$(ROOM) has no such tests; $(1) runs the others."; }

test: .venv/dev  ## Run the tests, or those of one folder (ROOM=audio)
	@$(PYTEST) -m "not slow" $(TESTS) || $(call NONE,make test-slow ROOM=$(ROOM))

test-slow: .venv/dev  ## Run the tests that take long, or those of one folder (ROOM=modal)
	@$(PYTEST) -m slow $(TESTS) || $(call NONE,make test ROOM=$(ROOM))

test-clients: .venv/dev .venv/clients/installed tests/clients/node_modules/installed  ## Run the clients of others against a server (pip and npm fetch them)
	@.venv/clients/bin/python -m pytest -c tests/clients/pytest.ini tests/clients

test-images: .venv/images  ## Lint the Dockerfile, the compose files and the chart
	@$(BIN)/python -m pytest --quiet tests/test_images.py tests/test_chart.py

lighthouse: .venv/dev  ## Have Lighthouse judge the console in Chromium (npm fetches it)
	@$(BIN)/python -m tests.clients.lighthouse

test-torch: .venv/torch/installed  ## Run the tests of Parakeet on PyTorch (on the CPU; pip fetches 200 MB)
	@OMP_NUM_THREADS=1 .venv/torch/bin/python -m pytest --numprocesses 2 --dist loadfile tests/torch

test-ray: .venv/ray/installed  ## Run the tests of the application on Ray (pip fetches 140 MB)
	@.venv/ray/bin/python -m pytest -p no:warnings --numprocesses 2 --dist loadfile tests/ray

docs: .venv/docs  ## Build the documentation into build/docs, to be read without a network
	@$(BIN)/python -m manual
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

format: .venv/dev  ## Put imports and layout right
	@$(BIN)/ruff check --quiet --select I --fix
	@$(BIN)/ruff format --quiet

lint: .venv/dev  ## Check style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

fuzz: .venv/fuzz  ## Attack a server for ten minutes (FUZZ_SECONDS=600 FUZZ_SEED=0)
	@$(BIN)/python -m fuzz

bench: .venv/bench  ## Measure, and print one table
	@$(BIN)/python -m benchmarks

bench-plot: .venv/bench  ## Draw how the figures changed, and put the newest into docs/benchmarks.md
	@$(BIN)/python -m benchmarks.plot
	@$(BIN)/python -m benchmarks.page

dist: .venv/dev  ## Build a wheel and an sdist, and try the wheel in a fresh environment
	@rm -rf dist build/try
	@$(BIN)/python -m build
	@$(PYTHON) -m venv --without-pip build/try
	@$(PIP) --python build/try/bin/python install -c constraints.txt dist/*.whl
	@cd build/try && bin/reflector-gpu --help >/dev/null && bin/reflector-gpu --version

release: dist .venv/release  ## The same, and list in dist/ what an installation consists of (SBOM)
	@$(PIP) --python build/try/bin/python install -c constraints.txt \
	  "$$(echo dist/*.whl)[encryption,llm,modal,otel,parakeet,postgresql,segmentation,translation,webrtc,whisper]"
	@$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --output-file dist/reflector-gpu.cdx.json build/try/bin/python

clean:  ## Forget the set-up
	rm -rf .venv build dist tests/clients/node_modules

.venv/pip:
	@echo "Setting up .venv (once) ..."
	@$(PYTHON) -m venv .venv
	@$(PIP) install "pip>=25.1"
	@touch $@

.venv/installed: .venv/pip pyproject.toml constraints.txt
	@$(PIP) install -c constraints.txt -e '.[whisper]'
	@touch $@

.venv/dev: .venv/installed
	@echo "Installing what the tests need ..."
	@$(PIP) install -c constraints.txt --group dev -e '.[encryption,parakeet,whisper,llm,otel,translation,postgresql,webrtc]'
	@touch $@

.venv/bench: .venv/dev
	@echo "Installing what the benchmarks need ..."
	@$(PIP) install -c constraints.txt --group bench
	@touch $@

.venv/fuzz: .venv/dev
	@echo "Installing what the fuzzing needs ..."
	@$(PIP) install -c constraints.txt --group fuzz
	@touch $@

.venv/docs: .venv/dev pyproject.toml
	@echo "Installing what builds the documentation ..."
	@$(PIP) install -c constraints.txt --group docs
	@touch $@

.venv/images: .venv/dev pyproject.toml
	@echo "Installing what lints the images ..."
	@$(PIP) install -c constraints.txt --group images
	@touch $@

.venv/release: .venv/dev
	@echo "Installing what a release needs ..."
	@$(PIP) install -c constraints.txt --group release
	@touch $@

# A client that cannot be had is no failure here: its tests say so and are skipped, except in CI.
.venv/clients/installed: .venv/pip tests/clients/requirements.txt tests/clients/constraints.txt
	@echo "Installing the clients in Python ..."
	@$(PYTHON) -m venv .venv/clients
	@.venv/clients/bin/python -m pip --disable-pip-version-check --quiet install \
	  -c tests/clients/constraints.txt pytest
	@.venv/clients/bin/python -m pip --disable-pip-version-check --quiet install \
	  -c tests/clients/constraints.txt -r tests/clients/requirements.txt \
	  && touch $@ || test -z "$$CI"

# The build for CPUs alone, which is small; users get the one for CUDA.
.venv/torch/installed: .venv/pip pyproject.toml constraints.txt
	@echo "Installing PyTorch for CPUs ..."
	@$(PYTHON) -m venv .venv/torch
	@grep -v '^torch==' constraints.txt >.venv/torch/constraints.txt
	@.venv/torch/bin/python -m pip --disable-pip-version-check --quiet install "pip>=25.1"
	@.venv/torch/bin/python -m pip --disable-pip-version-check --quiet install \
	  -c .venv/torch/constraints.txt torch==2.13.0 --group dev -e '.[parakeet,torch]'
	@touch $@

.venv/ray/installed: .venv/pip pyproject.toml constraints.txt
	@echo "Installing Ray ..."
	@$(PYTHON) -m venv .venv/ray
	@.venv/ray/bin/python -m pip --disable-pip-version-check --quiet install "pip>=25.1"
	@.venv/ray/bin/python -m pip --disable-pip-version-check --quiet install \
	  -c constraints.txt --group dev -e '.[llm,postgresql,ray]'
	@touch $@

tests/clients/node_modules/installed: tests/clients/package.json
	@echo "Installing the clients in JavaScript ..."
	@npm install --prefix tests/clients --no-package-lock --no-audit --no-fund --loglevel=error \
	  && touch $@ || test -z "$$CI"
