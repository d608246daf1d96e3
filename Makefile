# `make run` starts a simulated grid and its page; `make test` checks everything. Both set up the workspace first.
# Extra arguments: make run ARGS="--units 8", make test ARGS="-k deal".

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup desktop run stop test test-fast test-stress test-native coverage bench explore docs lint format screenshot pictures lock release clean

ARGS ?=
PYTHON3 := $(firstword $(foreach p,python3 python3.13 python3.12 python3.11 python3.10,$(shell command -v $(p) 2>/dev/null)))
ENV := source tools/env.sh &&

help:  ## what one can do here
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 20

setup:  ## build the environment and the packages; does only what is not done yet
	@$(or $(PYTHON3),echo "setup: This machine lacks a supported Python; on Debian or Ubuntu: sudo apt install python3 python3-venv python3-dev" >&2; exit 2;) tools/workspace.py setup

desktop: setup .venv/desktop.stamp  ## Qt for the grid window, which needs it where there is no rqt

.venv/%.stamp: tools/requirements/%.lock .venv/apis-setup.json
	@.venv/bin/uv pip install --quiet --python .venv/bin/python -r $< && touch $@

run: setup  ## a simulated grid with its page (ARGS="--units 8"); Ctrl-C stops it
	@exec .venv/bin/python tools/foreground.py ./apisctl run $(ARGS)

stop:  ## stop what `make run` started
	@./apisctl stop

test: setup desktop  ## all checks and tests (ARGS="-k deal")
	@$(MAKE) --no-print-directory -j 2 docs lint
	@$(ENV) exec tools/test.sh $(ARGS)

test-fast: setup  ## the tests that need no ROS and no long seeds
	@$(ENV) exec python -m pytest -m "not ros and not slow and not browser" $(ARGS)

test-stress: setup desktop  ## whole grids beside two busy loops, three times, without a second try
	@$(ENV) exec tools/test_stress.sh $(ARGS)

test-native:  ## the C++ by itself: GoogleTest, three sanitizers, a program that links it
	@if [ -f build/env.sh ]; then source tools/env.sh; fi; exec tools/test_native.sh

coverage: setup  ## branch coverage of the core by its own tests; fails below 95 %
	@$(ENV) exec python -m pytest -q -n auto src/apis_core tests/transcripts --cov=apis_core --cov-branch \
	  --cov-report=term-missing --cov-fail-under=95 $(ARGS)

bench: setup  ## how fast it is (ARGS="control plant"); also written to build/bench.json
	@$(ENV) exec python -m bench $(ARGS)

explore: setup  ## try every schedule within limits on the real core (ARGS="--faults 1"); also written to build/explore.json
	@$(ENV) exec python -m apis_simulator.explore --json build/explore.json $(ARGS)

docs: setup build/docs/venv.stamp  ## the documents as a web site, in build/docs/site; fails if a link leads nowhere
	@build/docs/venv/bin/sphinx-build -q -W --keep-going -j auto -c tools/docs -d build/docs/doctrees . build/docs/site && echo "The documents are in build/docs/site/index.html."

build/docs/venv.stamp: tools/requirements/docs.lock .venv/apis-setup.json
	@.venv/bin/uv venv --quiet --clear --python .venv/bin/python build/docs/venv
	@.venv/bin/uv pip install --quiet --python build/docs/venv/bin/python -r $< && touch $@

lint: setup .venv/lint.stamp  ## formatting, lint and types, changing nothing
	@$(ENV) exec tools/lint.sh

format: setup .venv/lint.stamp  ## format the sources
	@$(ENV) exec tools/lint.sh --fix

screenshot: setup  ## the picture of the page for the README
	@./apisctl screenshot $(ARGS)

pictures: setup  ## pictures of every page, after a simulated day, for the docs
	@$(ENV) exec python tools/pictures.py $(ARGS)

lock: setup  ## resolve the pinned packages again after an edit in tools/requirements/
	@$(PYTHON3) tools/workspace.py lock

release:  ## one version everywhere, and the news in CHANGELOG.md (VERSION=0.3.0)
	@$(PYTHON3) tools/release.py $(VERSION)

clean:  ## remove what setup built
	@rm -rf .venv build install log
	@echo "Removed .venv, build, install and log."
