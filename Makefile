# tokwatt: `make` lists what there is. Needs python3 (3.11 or newer) and nothing else; what it installs is in .venv.
#
# Words after ARGS= go to the command: make run ARGS="--sample-interval 1s", make test ARGS="-k journal".

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
export PIP_NO_INPUT := 1
# A python that is active in the shell would otherwise leak into the virtual environment; and hundreds of processes would
# each compile what they import.
unexport PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE

ARGS ?=
#: Versions this runs on, newest first.
MINORS := 14 13 12 11
#: Tests mostly wait, so that there are more at a time than processors. ARGS=-n0 runs one after the other.
BESIDE ?= -n 3 --dist worksteal
TYPED := exporter bench grafana/src tests/support tests/performance

# $(call find_python,names): print the first one that runs, is new enough and can make virtual environments.
find_python = for python in $(1); do \
	    "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; \
	done
PYTHONS = $(PYTHON) $(MINORS:%=python3.%) python3 $(foreach minor,$(MINORS),$(HOME)/.pyenv/versions/3.$(minor).*/bin/python3)
NO_PYTHON = tokwatt needs Python 3.11 or newer with its venv module: `apt install python3-venv`, `dnf install python3` or \
	`brew install python` gets one; make PYTHON=/path/to/python3 uses one that make does not find

# $(call install,venv,lock): a virtual environment with what the lock names, each file by its checksum, and tokwatt itself.
define install
	@$(1)/bin/python -c '' 2>/dev/null || { \
	    python=$$($(call find_python,$(PYTHONS))); \
	    [ -n "$$python" ] || { echo '$(NO_PYTHON)' >&2; exit 1; }; \
	    "$$python" -m venv --clear --without-pip $(1); }
	@echo "installing $(2) into $(1)"
	@$(call install_with_uv,$(1),--require-hashes -r $(2))
	@$(call install_with_uv,$(1),--no-deps -e .)
endef

# uv needs two seconds where pip needs a minute; pip knows the mirrors that are set up for pip alone.
install_with_uv = .venv-uv/bin/uv pip install -q --python $(1) $(2) 2>/dev/null || \
	.venv-uv/bin/python -m pip --python $(1) install -qq $(2)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

run: .venv/run.stamp ## start the exporter on this machine (http://127.0.0.1:10021/metrics)
	@exec .venv/bin/tokwatt run $(ARGS)

test: .venv/dev.stamp ## run every test
	@.venv/bin/python -m pytest $(BESIDE) $(ARGS)

test-quick: .venv/dev.stamp ## run the tests that start no servers
	@.venv/bin/python -m pytest $(BESIDE) -q -m "not e2e" $(ARGS)

test-engines: .venv/dev.stamp ## run the tests of engines that are big or slow to start (4 GB, ten minutes)
	@.venv/bin/python -m pytest -m engines -v $(ARGS)

test-versions: .venv/dev.stamp ## run the quick tests of the code on every other Python that is here, all at a time
	@own=$$(.venv/bin/python -c 'import sys; print(sys.version_info[1])'); found=; \
	for minor in $(MINORS); do \
	    if [ $$minor = $$own ]; then echo "Python 3.$$minor: has .venv, make test runs there"; continue; fi; \
	    python=$$($(call find_python,python3.$$minor $(HOME)/.pyenv/versions/3.$$minor.*/bin/python3)); \
	    if [ -z "$$python" ]; then echo "Python 3.$$minor: SKIPPED, not on this machine (or without venv)"; continue; fi; \
	    $(MAKE) .venv-3.$$minor/dev.stamp PYTHON=$$python || exit 1; \
	    found="$$found quick-on-3.$$minor"; \
	done; \
	[ -z "$$found" ] || $(MAKE) -k -j 4 $$found

# By make and not with &: a shell starts what runs in the background with Ctrl-C ignored, which some tests send.
quick-on-3.%:
	@log=.venv-3.$*/test.log; \
	.venv-3.$*/bin/python -m pytest -n 3 --dist worksteal -q -m "not e2e and not text and not slow" --few 1 --assert=plain -p no:cacheprovider $(ARGS) > $$log 2>&1; \
	failed=$$?; [ $$failed = 0 ] || cat $$log; echo "Python 3.$*: $$(tail -n 1 $$log)"; exit $$failed

check: .venv/dev.stamp ## lint, types, and that generated files are what the code says
	@.venv/bin/ruff check --quiet . && echo "lint: fine"
	@.venv/bin/ruff format --quiet --check . && echo "format: fine"
	@.venv/bin/mypy --no-error-summary $(TYPED) && echo "types: fine"
	@for generator in $(GENERATORS); do .venv/bin/python $$generator --check || exit 1; done; echo "generated files: fine"
	@folder=$$(mktemp -d) && said=$$($(SITE) -d "$$folder" 2>&1); failed=$$?; rm -rf "$$folder"; \
	[ $$failed = 0 ] || { echo "$$said" >&2; exit 1; }; echo "site: fine"
	@.venv/bin/python -m pytest -q $(CATALOGUE_TESTS)

format: .venv/dev.stamp ## let ruff lay out the code
	@.venv/bin/ruff check --quiet --fix . ; .venv/bin/ruff format .

docs: .venv/dev.stamp ## write the generated files anew (docs/, grafana/, deploy/)
	@for generator in $(GENERATORS); do .venv/bin/python $$generator || exit 1; done

docs-site: .venv/dev.stamp ## build the site of docs/ into .venv/site, without the network
	@$(SITE) && echo "file://$(CURDIR)/.venv/site/index.html"

# Not --quiet: warnings that are not said do not count.
SITE = NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict -f docs/site/mkdocs.yml
CATALOGUE_TESTS = $(or $(wildcard tests/test_catalogue*.py),$(error no catalogue tests))
GENERATORS = $(wildcard docs/generate.py grafana/src/generate.py deploy/generate.py)

#: Recordings of Macs, a file each.
CAPTURES ?= ../shared/captures/macos

replay-apple: ## print what is read from recordings of Macs; CAPTURES=DIR names another folder
	@$(MAKE) -s .venv/dev.stamp >&2
	@.venv/bin/python tests/replay_apple.py "$(CAPTURES)"

bench: .venv/dev.stamp ## measure tokwatt itself against its targets; BENCH_MINUTES=10 for the full memory run
	@.venv/bin/python -m tests.performance $(ARGS)

bench-peers: ## install guidellm and aiperf, which `make bench ARGS=client` measures beside ours (2 GB)
	@for peer in guidellm==0.8.1 aiperf==0.13.0; do \
	    folder=.venv-peers/$${peer%%=*}; \
	    python3 -m venv $$folder && $$folder/bin/pip install -q $$peer || exit 1; \
	done

demo: .venv/dev.stamp ## run three demo machines and a Prometheus with their last hours, and say where
	@exec .venv/bin/python -m tests.support.demo $(ARGS)

screenshots: .venv/dev.stamp ## draw the boards with demo machines into docs/pictures (needs node and npm; no root)
	@.venv/bin/python -m tests.support.grafana_render docs/pictures

transcript: .venv/dev.stamp ## ask demo machines as an agent does, into docs/mcp.md
	@.venv/bin/python -m tests.support.mcp_transcript docs/mcp.md

components: .venv/dev.stamp ## install the servers the tests use (no root)
	@.venv/bin/python -m tests.support.components

lock: .venv-uv/stamp ## resolve the dependencies and write the lock files; ARGS=--upgrade takes newer versions
	@$(RESOLVE) pyproject.toml -o requirements.lock
	@$(RESOLVE) pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
	@$(RESOLVE) --group install -o requirements-uv.lock
RESOLVE = .venv-uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links $(ARGS)

clean: ## remove what make installed
	rm -rf .venv .venv-uv .venv-3.* .venv-peers

.venv-uv/stamp: requirements-uv.lock
	@python=$$($(call find_python,$(PYTHONS))); [ -n "$$python" ] || { echo '$(NO_PYTHON)' >&2; exit 1; }; \
	"$$python" -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install -qq --require-hashes -r $< || echo "uv is not to be had here: pip installs"
	@touch $@

.venv/run.stamp: requirements.lock pyproject.toml | .venv-uv/stamp
	$(call install,.venv,requirements.lock)
	@touch $@

# The development lock holds all of the other one, in the same versions.
.venv/dev.stamp: requirements-dev.lock requirements.lock pyproject.toml | .venv-uv/stamp
	$(call install,$(@D),requirements-dev.lock)
	@touch $(@D)/run.stamp $@

.venv-3.%/dev.stamp: requirements-dev.lock pyproject.toml | .venv-uv/stamp
	$(call install,$(@D),requirements-dev.lock)
	@touch $@

.PHONY: help run test test-quick test-engines test-versions check format docs docs-site replay-apple bench bench-peers demo \
	screenshots transcript components lock clean
