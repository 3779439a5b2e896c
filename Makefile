# Every target installs what it needs, into .venv, from pinned versions; a second run finds it there.
# Needed before: Python 3.10 or newer (another one: make PYTHON=/path/to/python test) and git.

VENV := .venv
CORE := newest
# Without it, any Python from 3.10 on.
PYTHON_VERSION :=

HERE := $(CURDIR)
BIN := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
PY := $(HERE)/$(VENV)/$(BIN)/python
PIP := "$(PY)" -m pip -qq --disable-pip-version-check install --constraint constraints/dev.txt
PINNED := $(PIP) --constraint constraints/core-$(CORE).txt --no-build-isolation
SOURCES := $(wildcard pyproject.toml README.md LICENSE constraints/*.txt) $(shell find llama_index -type f ! -name "*.pyc")

# Tests run elsewhere, so that they import the installed package and never the source tree.
AWAY := build/away
PYTEST := cd $(AWAY) && "$(PY)" -m pytest --config-file "$(HERE)/pyproject.toml" --rootdir "$(HERE)"
WORKERS := --numprocesses 2 --dist worksteal --inline-snapshot=disable
COVERAGE := "$(PY)" -m coverage

export COVERAGE_FILE := $(HERE)/build/coverage/data
export TESTING_THE_INSTALLED := yes
export PYTHON
unexport PYTHONPATH

.DEFAULT_GOAL := help
.PHONY: help
help: ## this list
	@echo "make ..."
	@awk -F ':|## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$NF }' Makefile

# --- what people run ---------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.installed ## a mixture answers, live; no key and no network needed
	@"$(HERE)/$(VENV)/$(BIN)/moa" demo $(ARGS)

.PHONY: test
test: $(VENV)/.developing ## the suite on the built and installed wheel, except for the tests marked `slow`
	@rm -rf $(AWAY) && mkdir -p $(AWAY)
	@$(PYTEST) $(WORKERS) --quick "$(HERE)/tests" $(ARGS)

.PHONY: test-slow
test-slow: $(VENV)/.developing ## the tests marked `slow`: commands and servers in processes of their own, statistics
	@mkdir -p $(AWAY)
	@$(PYTEST) $(WORKERS) -m slow "$(HERE)/tests" $(ARGS)

# On the sources: nothing is built, no process is started, no HTTP is spoken.
.PHONY: test-unit
test-unit: $(if $(wildcard $(VENV)/.developing),,$(VENV)/.developing) ## the unit tests on the sources, in seconds
	@unset TESTING_THE_INSTALLED; "$(PY)" -m pytest -q -n 2 --quick --inline-snapshot=disable tests/unit $(ARGS)

.PHONY: lint
lint: $(VENV)/.developing ## style, import levels, dependencies, workflows, the documents' English
	@"$(PY)" -m ruff check .
	@"$(PY)" -m ruff format --check .
	@"$(HERE)/$(VENV)/$(BIN)/lint-imports"
	@"$(PY)" -m deptry .
	@"$(PY)" tools/prose.py
	@"$(HERE)/$(VENV)/$(BIN)/zizmor" --offline --quiet .github

.PHONY: types
types: $(VENV)/.developing ## pyright, strict on the package; mypy on a user's script
	@"$(PY)" -m pyright --pythonpath "$(PY)"
	@"$(PY)" -m mypy

.PHONY: docs-check
docs-check: $(VENV)/.developing ## run the documents' code, follow their links
	@mkdir -p $(AWAY)
	@$(PYTEST) "$(HERE)/tests/project/test_documents.py" "$(HERE)/tests/project/test_site.py" $(ARGS)

# In an environment of its own: what builds the site pins packages that the tests need in other versions.
DOCS := .venvs/docs
ZENSICAL := "$(HERE)/$(DOCS)/$(BIN)/zensical"

.PHONY: docs
docs: $(VENV)/.developing $(DOCS)/.made ## the site, strictly, in build/site/VERSION
	@"$(PY)" tools/docs_site.py pages
	@$(ZENSICAL) build --strict --clean
	@"$(PY)" tools/docs_site.py finish

.PHONY: docs-serve
docs-serve: docs ## the site on this machine, at http://127.0.0.1:8000
	@"$(PY)" -m http.server --bind 127.0.0.1 --directory build/site 8000

.PHONY: format
format: $(VENV)/.developing ## let ruff mend what it can
	@"$(PY)" -m ruff check --fix --quiet . ; "$(PY)" -m ruff format .

# --- what takes longer -------------------------------------------------------------------------------------------

# A row is PYTHON/CORE; a Python that is not on this machine is replaced by one that is.
MATRIX := 3.10/0.14.16 3.12/0.14.20 3.13/newest 3.14/newest
SUITE := test-only

.PHONY: test-matrix
test-matrix: $(addprefix matrix/,$(MATRIX)) ## the suite on the oldest, the last-with-llama-packs and the newest core

.PHONY: matrix/%
matrix/%:
	@version=$(*D); tools/find_python.sh $$version >/dev/null 2>&1 || version=; \
	 echo "== Python $${version:-(no $(*D) here, another)}, core $(*F)"; \
	 $(MAKE) --no-print-directory $(SUITE) PYTHON_VERSION=$$version CORE=$(*F) VENV=.venvs/py$$version-core$(*F)

.PHONY: test-only
test-only: $(VENV)/.developing
	@mkdir -p $(AWAY)
	@$(PYTEST) $(WORKERS) $(or $(TESTS),"$(HERE)/tests") $(ARGS)

# Not on Python 3.11: there the audit hook that keeps tests off the network lets other threads in while coverage sets a
# thread's trace function, and Python refuses ("another trace function is being installed").
.PHONY: coverage
coverage: ## the suite, counting the lines and branches that it reaches
	@$(MAKE) --no-print-directory matrix/3.13/newest SUITE=coverage-only

.PHONY: coverage-only
coverage-only: $(VENV)/.developing
	@rm -rf build/coverage && mkdir -p $(AWAY) build/coverage
	@cd $(AWAY) && $(COVERAGE) run --rcfile "$(HERE)/pyproject.toml" -m pytest --config-file "$(HERE)/pyproject.toml" \
	    --rootdir "$(HERE)" $(WORKERS) "$(HERE)/tests" $(ARGS)
	@$(COVERAGE) combine --quiet && $(COVERAGE) report

# Where the pack is downloaded as users of core 0.14.20 do: all but the pack itself is installed in DOORS.
DOORS := .venvs/doors

.PHONY: doors
doors: $(VENV)/.developing $(DOORS)/.made ## download-llamapack with core 0.14.20, and installing over the old pack
	@mkdir -p $(AWAY)
	@export DOORS="$(HERE)/$(DOORS)"; $(PYTEST) -m doors $(or $(TESTS),"$(HERE)/tests") $(ARGS)

# With LLM classes whose pins do not go with those of the other tests.
PROVIDERS := .venvs/providers

.PHONY: providers
providers: $(PROVIDERS)/.installed ## Anthropic's, Google's, Ollama's and OpenAI-like LLM classes, really installed
	@mkdir -p $(AWAY)
	@cd $(AWAY) && "$(HERE)/$(PROVIDERS)/$(BIN)/python" -m pytest --config-file "$(HERE)/pyproject.toml" \
	    --rootdir "$(HERE)" -m providers $(or $(TESTS),"$(HERE)"/tests/project/test_real_classes.py) $(ARGS)

# With public scorers, and with what makes the questions of docs/worth.md.
EVALUATORS := .venvs/evaluators

.PHONY: evaluators
evaluators: $(EVALUATORS)/.installed ## alpaca-eval, FastChat, inspect-ai and lm-eval, against moa serve and on our files
	@mkdir -p $(AWAY)
	@cd $(AWAY) && "$(HERE)/$(EVALUATORS)/$(BIN)/python" -m pytest --config-file "$(HERE)/pyproject.toml" \
	    --rootdir "$(HERE)" -m evaluators $(or $(TESTS),"$(HERE)"/tests/project/test_evaluators.py) $(ARGS)

.PHONY: worth
worth: $(EVALUATORS)/.installed ## the evaluation of docs/worth.md
	@"$(HERE)/$(EVALUATORS)/$(BIN)/python" tools/worth.py $(ARGS)

# Real clients: two environments, since some need OpenAI's SDK in version 2 and others in version 3, and Node's packages.
CLIENTS := .venvs/clients/.made .venvs/clients-openai2/.made
NODE_CLIENTS := build/clients

.PHONY: clients
clients: $(VENV)/.developing $(CLIENTS) $(NODE_CLIENTS)/.made ## SDKs and frameworks against moa serve; needs Node 20 or newer
	@mkdir -p $(AWAY)
	@$(PYTEST) -m clients "$(HERE)/tests/project/test_clients.py" $(ARGS)

# With Ray, which is large, and datasets.
RAY := .venvs/ray

.PHONY: ray
ray: $(RAY)/.installed ## a batch on a Ray cluster of two nodes, on this machine
	@mkdir -p $(AWAY)
	@cd $(AWAY) && "$(HERE)/$(RAY)/$(BIN)/python" -m pytest --config-file "$(HERE)/pyproject.toml" \
	    --rootdir "$(HERE)" -m ray $(or $(TESTS),"$(HERE)"/tests/integration/test_fleet.py "$(HERE)"/tests/integration/test_datasets.py) $(ARGS)

# With a model that runs on this machine. Not in CI: the server is built here, which takes ten minutes, once.
LOCAL := .venvs/local

.PHONY: local
local: $(LOCAL)/.installed ## a small model behind llama.cpp's server, both on this machine
	@mkdir -p $(AWAY)
	@cd $(AWAY) && "$(HERE)/$(LOCAL)/$(BIN)/python" -m pytest --config-file "$(HERE)/pyproject.toml" \
	    --rootdir "$(HERE)" -m local $(or $(TESTS),"$(HERE)"/tests/project/test_local_server.py) $(ARGS)

.PHONY: notebooks
notebooks: $(VENV)/.developing ## the notebooks, against the simulated providers
	@mkdir -p $(AWAY)
	@export PYTHONPATH="$(HERE)/tests/support/offline"; unset OPENAI_API_KEY MISTRAL_API_KEY; \
	 $(PYTEST) --nbmake "$(HERE)"/examples/*.ipynb $(ARGS)

.PHONY: browser
browser: docs ## results, the notebook, the server's page and the site in headless Chromium; pictures in build/browser
	@mkdir -p $(AWAY)
	@$(PYTEST) -m browser "$(HERE)/tests" $(ARGS)

.PHONY: load
load: $(VENV)/.developing ## 500 clients stream from one server for a minute
	@mkdir -p $(AWAY)
	@$(PYTEST) -m load "$(HERE)/tests/project/test_load.py" $(ARGS)

.PHONY: chaos
chaos: $(VENV)/.developing ## 2,000 runs against providers that fail
	@mkdir -p $(AWAY)
	@$(PYTEST) -m chaos --timeout 1800 "$(HERE)/tests" $(ARGS)

# The test starts the server itself; without one it fails.
.PHONY: redis
redis: $(VENV)/.developing ## limits in a Redis server (Debian's package redis-server), which is started here
	@command -v redis-server >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -y -qq redis-server; } || \
	 { echo "redis-server is not installed: apt-get install redis-server"; exit 1; }
	@mkdir -p $(AWAY)
	@$(PYTEST) -m redis "$(HERE)/tests/integration/test_limits_in_redis.py" $(ARGS)

.PHONY: bench
bench: $(VENV)/.developing ## the benchmarks, as ratios from one run
	@"$(PY)" benchmarks/run.py $(ARGS)

.PHONY: bench-quick
bench-quick: $(VENV)/.developing ## the same, in under a minute
	@"$(PY)" benchmarks/run.py --quick $(ARGS)

.PHONY: pictures
pictures: browser ## draw the pictures of README and site anew; needs Chromium
	@"$(PY)" tools/pictures.py

.PHONY: dist
dist: $(VENV)/.made ## wheel and sdist, in dist/
	@rm -rf dist && "$(PY)" -m hatchling build -d dist

.PHONY: pin
pin: ## resolve constraints/*.txt anew, for every Python found
	@"$$(tools/find_python.sh)" tools/pin.py $$(for v in 10 11 12 13; do tools/find_python.sh 3.$$v; done)

.PHONY: clean
clean: ## remove everything that these targets made
	rm -rf .venv .venvs build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# --- set-up ------------------------------------------------------------------------------------------------------

$(VENV)/.made:
	@python=$$(tools/find_python.sh $(PYTHON_VERSION)) && echo "Making $(VENV) with $$python" && \
	 "$$python" -m venv --clear $(VENV)
	@$(PIP) pip hatchling
	@touch $@

$(DOORS)/.made: pyproject.toml constraints/dev.txt constraints/core-0.14.20.txt
	@python=$$(tools/find_python.sh 3.12 2>/dev/null || tools/find_python.sh) && echo "Making $(DOORS) with $$python" && \
	 "$$python" -m venv --clear $(DOORS)
	@pip="$(DOORS)/$(BIN)/python -m pip -qq --disable-pip-version-check" && \
	 install="$$pip install --constraint constraints/dev.txt --constraint constraints/core-0.14.20.txt" && \
	 $$install pip editables hatchling && $$install --no-build-isolation . llama-index-cli && \
	 $$pip uninstall --yes llama-index-packs-mixture-of-agents && \
	 $$pip download --no-deps --dest $(DOORS)/old llama-index-packs-mixture-of-agents==0.5.1
	@touch $@

$(DOCS)/.made: pyproject.toml constraints/docs.txt
	@python=$$(tools/find_python.sh) && echo "Making $(DOCS) with $$python" && "$$python" -m venv --clear $(DOCS)
	@pip="$(DOCS)/$(BIN)/python -m pip -qq --disable-pip-version-check install --constraint constraints/docs.txt" && \
	 $$pip "pip>=25.1" && $$pip --group docs
	@touch $@

$(PROVIDERS)/.installed: $(SOURCES)
	@python=$$(tools/find_python.sh $(PYTHON_VERSION)) && echo "Making $(PROVIDERS) with $$python" && \
	 "$$python" -m venv --clear $(PROVIDERS)
	@install="$(PROVIDERS)/$(BIN)/python -m pip -qq --disable-pip-version-check install --constraint constraints/providers.txt" && \
	 $$install pip hatchling && $$install --no-build-isolation . --group providers
	@touch $@

$(EVALUATORS)/.installed: $(SOURCES)
	@python=$$(tools/find_python.sh $(PYTHON_VERSION)) && echo "Making $(EVALUATORS) with $$python" && \
	 "$$python" -m venv --clear $(EVALUATORS)
	@install="$(EVALUATORS)/$(BIN)/python -m pip -qq --disable-pip-version-check install --constraint constraints/evaluators.txt" && \
	 $$install pip hatchling && $$install --no-build-isolation '.[cli,eval,server]' --group evaluators
	@touch $@

$(CLIENTS): .venvs/%/.made: pyproject.toml constraints/%.txt
	@python=$$(tools/find_python.sh $(PYTHON_VERSION)) && echo "Making .venvs/$* with $$python" && \
	 "$$python" -m venv --clear .venvs/$*
	@install=".venvs/$*/$(BIN)/python -m pip -qq --disable-pip-version-check install --constraint constraints/$*.txt" && \
	 $$install "pip>=25.1" && $$install --group $*
	@touch $@

$(NODE_CLIENTS)/.made: tests/support/clients/package.json
	@rm -rf $(NODE_CLIENTS) && mkdir -p $(NODE_CLIENTS) && cp $< $(NODE_CLIENTS)
	@cd $(NODE_CLIENTS) && npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts
	@touch $@

# Made once: what changes from one change to the next is the package alone.
$(RAY)/.made: pyproject.toml constraints/ray.txt
	@python=$$(tools/find_python.sh $(PYTHON_VERSION)) && echo "Making $(RAY) with $$python" && \
	 "$$python" -m venv --clear $(RAY)
	@install="$(RAY)/$(BIN)/python -m pip -qq --disable-pip-version-check install --constraint constraints/ray.txt" && \
	 $$install "pip>=25.1" && $$install --group ray
	@touch $@

$(RAY)/.installed: $(SOURCES) | $(RAY)/.made
	@"$(RAY)/$(BIN)/python" -m pip -qq --disable-pip-version-check install --constraint constraints/ray.txt \
	 --no-build-isolation '.[ray,batch]'
	@touch $@

# Built for the processor of this machine, the server dies of a general protection fault on some.
$(LOCAL)/.made: constraints/local.txt
	@python=$$(tools/find_python.sh $(PYTHON_VERSION)) && echo "Making $(LOCAL) with $$python (the first time, ten minutes)" && \
	 "$$python" -m venv --clear $(LOCAL)
	@export CMAKE_ARGS=-DGGML_NATIVE=OFF; \
	 install="$(LOCAL)/$(BIN)/python -m pip -qq --disable-pip-version-check install --constraint constraints/local.txt" && \
	 $$install "pip>=25.1" hatchling && $$install --no-build-isolation '.[cli,server]' && $$install --group local
	@touch $@

$(LOCAL)/.installed: $(SOURCES) $(LOCAL)/.made
	@$(LOCAL)/$(BIN)/python -m pip -qq --disable-pip-version-check install --no-deps --no-build-isolation --force-reinstall .
	@touch $@

$(VENV)/.installed: $(SOURCES) | $(VENV)/.made
	@echo "Installing the package into $(VENV) (the first time takes a minute)"
	@$(PINNED) '.[cli]'
	@touch $@

$(VENV)/.developing: $(SOURCES) | $(VENV)/.made
	@echo "Installing the package and the development tools into $(VENV) (the first time takes a minute or two)"
	@$(PINNED) '.[all]' --group dev
	@touch $@ $(VENV)/.installed
