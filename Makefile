# What can be made: `make` alone lists it.  Everything happens in .venv; nothing outside this folder is touched.

PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= $(shell expr $$(nproc 2> /dev/null || echo 1) + 1)
BIN    := $(VENV)/bin

# The integration tests use real processes, namespaces and timing: one after the other, once over each kind of transports, and once
# over a link of bytes.  But ONCE are those for which neither makes a difference (command lines and pages), half of the time that
# one round takes, LINKLESS those for which the link makes none (users, redirected connections), and BY_THEMSELVES those that go
# over each kind of transports whatever the environment says.  Two rounds run at the same time: they wait more than they work.
# All others run in JOBS processes, one more than there are processors, for some of them wait too.
UNIT_TESTS = $(shell ls -d tests/test_*.py tests/*/__init__.py | sed 's:/__init__\.py$$::; s:\.py$$::; s:/:.:g' | grep -v integration)

# Those that have main and a worker: run once more with a link between the two that writes each message as bytes and reads it again.
LINK_TESTS = $(shell grep -lrE 'import .*Mesh|server\.(service|assembly)|health\.checked' tests --include='test_*.py' | \
  grep -vE 'integration|benchmarks|test_explorer' | sed 's:\.py$$::; s:/:.:g')

ONCE          = cli demo docs embedding extending live_page observability start terminal
LINKLESS      = daemon redirect
BY_THEMSELVES = filters health redirect serve
INTEGRATION   = $(subst /,.,$(basename $(wildcard tests/integration/test_*.py)))
only          = $(addprefix tests.integration.test_,$(1))
without       = $(filter-out $(call only,$(1)),$(INTEGRATION))
round         = '$(1) $(BIN)/trial --temp-directory _trial_temp.$(2) $(3)'

# What judges the live page for those who hear it or use no mouse.  Where there is no npm the test that wants it is skipped.
AXE         := build/axe/axe.min.js
AXE_VERSION := 4.14.1

# The kinds of transports that the integration tests go over: those of our own need Linux, and one that grants an io_uring.
TRANSPORTS ?= $(if $(filter Linux,$(shell uname -s)),epoll stock $(shell \
  $(BIN)/python -c 'from tcpmesh.net.uring.ring import Ring; Ring(); print("uring-only")' || echo 'Not over io_uring: see above.' >&2),stock)

# The tests start hundreds of programs: where the environment lets Python keep no bytecode each of them would compile everything.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run upgrade-demo upgrade-proof test fuzz explore soak attack lowest coverage check format apidocs \
	changelog bench bench-growth bench-waits bench-micro bench-config bench-start record-verdicts record-runtime record-tls record-filters record-schema own-schema \
	screenshots wheel dist sbom clean

help:
	@echo 'make run     start the demo: proxy on 127.0.0.1:10000, admin on 127.0.0.1:9901, two backends; Ctrl-C stops it'
	@echo 'make upgrade-demo  half a minute: a client counts aloud through three upgrades of the proxy, and others are not refused'
	@echo 'make upgrade-proof  a minute: 1000 connections through three upgrades, of which every byte is looked at; OPTIONS=--help'
	@echo 'make test    run the test suite'
	@echo 'make fuzz    random games on every kind of transports, ever others, for about six minutes, and before them a minute of ClientHellos and one of garbage'
	@echo 'make explore  every order of eight events of both sides of a proxied connection, half an hour'
	@echo 'make soak    a week in two minutes: reloads, upgrades, killed workers, and clients that notice nothing; OPTIONS=--help'
	@echo 'make attack  hostile peers against a running proxy, six minutes; OPTIONS=--list tells of them, OPTIONS=NAME chooses'
	@echo 'make lowest  run the unit tests with the lowest version of every dependency, in $(VENV)-lowest'
	@echo 'make coverage  run the unit tests and tell which lines and branches they reach'
	@echo 'make check   lint, formatting, types, the import layers and the names of newsfragments'
	@echo 'make format  let ruff format the code'
	@echo 'make apidocs    build the pages of the public API, build/apidocs/index.html'
	@echo 'make changelog  show what newsfragments/ will add to CHANGELOG.md'
	@echo 'make bench   run the benchmarks, forty minutes; OPTIONS=--quick only tries them, OPTIONS=--help tells of others'
	@echo 'make bench-growth     what becomes dearer with more connections, hosts, chains or clusters, ten minutes; OPTIONS=--help'
	@echo 'make bench-waits      where a request of a single connection waits, by the kernel'\''s record, three minutes, for root; OPTIONS=--help'
	@echo 'make bench-micro      time a message and a connection inside the process, ten seconds; OPTIONS=--profile tells where'
	@echo 'make bench-config     time 10,000 listeners and clusters being judged, beside Envoy'
	@echo 'make bench-start      the CPU of a start; OPTIONS=CHECKOUT starts another one in turns with this one'
	@echo 'make record-verdicts  ask Envoy anew about tests/config/verdicts.json; ENVOY=PATH chooses the binary'
	@echo 'make record-runtime   the same of tests/runtime/recorded.json, about runtime values; ENVOY=PATH as above'
	@echo 'make record-tls       the same of tests/net/tls/recorded.json, about certificates; ENVOY=PATH as above'
	@echo 'make record-filters   the same of tests/differential/filters.json, about network filters; ENVOY=PATH as above'
	@echo 'make record-schema    take what xds-protos lacks from Envoy, into tcpmesh/config/schema/; ENVOY=PATH as above'
	@echo 'make own-schema       compile the .proto files of tcpmesh/config/schema/own/'
	@echo 'make screenshots      take the pictures of the live page anew, into docs/images; wants chromium and the font Inter'
	@echo 'make wheel   build dist/*.whl'
	@echo 'make dist    build the source archive, and from it the wheel, for a release'
	@echo 'make sbom    list all that the wheel brings with it, build/tcpmesh.cdx.json'
	@echo 'make clean   remove what was built, .venv too'
	@echo 'PYTHON=python3.12 make ... chooses the interpreter (3.10 or newer) that .venv is made with.'

run: $(VENV)/.has-run
	@$(BIN)/python configs/demo.py

upgrade-demo: $(VENV)/.has-run
	@$(BIN)/python configs/upgrade_demo.py

upgrade-proof: $(VENV)/.has-test
	$(BIN)/python -m tests.integration.upgrade_proof $(OPTIONS)

test: $(VENV)/.has-test $(AXE)
	@failed=0; \
	$(BIN)/trial --jobs $(JOBS) $(UNIT_TESTS) || failed=1; \
	TCPMESH_LINK=bytes $(BIN)/trial --jobs $(JOBS) $(LINK_TESTS) || failed=1; \
	$(BIN)/python -m tests.together \
	  $(call round,TCPMESH_TRANSPORT=$(firstword $(TRANSPORTS)),once,$(call only,$(ONCE))) \
	  $(call round,TCPMESH_TRANSPORT=$(firstword $(TRANSPORTS)),$(firstword $(TRANSPORTS)),$(call without,$(ONCE))) || failed=1; \
	$(BIN)/python -m tests.together $(foreach transport,$(wordlist 2,9,$(TRANSPORTS)), \
	  $(call round,TCPMESH_TRANSPORT=$(transport),$(transport),$(call without,$(ONCE) $(BY_THEMSELVES)))) \
	  $(call round,TCPMESH_LINK=bytes,bytes,$(call without,$(ONCE) $(LINKLESS))) || failed=1; \
	exit $$failed

fuzz: $(VENV)/.has-fuzz
	$(BIN)/python -m tests.fuzz.client_hello -max_total_time=60
	TCPMESH_CONNECTIONS=10000 $(BIN)/trial tests.integration.test_garbage
	TCPMESH_GAMES=20 $(BIN)/trial tests.connection.test_relay_properties

explore: $(VENV)/.has-test
	TCPMESH_DEPTH=8 $(BIN)/trial --jobs $(JOBS) tests.testing.test_explorer

attack: $(VENV)/.has-test
	$(BIN)/python -m tests.attacks $(OPTIONS)

soak: $(VENV)/.has-test
	$(BIN)/python -m tests.soak $(OPTIONS)

lowest: $(VENV)-lowest/.has-test
	$(VENV)-lowest/bin/trial --jobs $(JOBS) $(UNIT_TESTS)

coverage: $(VENV)/.has-check
	$(BIN)/coverage erase
	$(BIN)/coverage run -m twisted.trial --jobs $(JOBS) $(UNIT_TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

check: $(VENV)/.has-check
	@mkdir -p build; failed=0; \
	for check in 'ruff check .' 'ruff format --check .' mypy 'trial tests.test_layers' \
	    'towncrier build --draft --version next > build/changelog.md'; do \
	  echo "$$check"; eval "$(BIN)/$$check" || failed=1; \
	done; \
	exit $$failed

format: $(VENV)/.has-check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Only what docs/api.md has a section of is shown.
apidocs: $(VENV)/.has-docs
	rm -rf build/apidocs
	set -f; $(BIN)/pydoctor --quiet --quiet --privacy=HIDDEN:tcpmesh.** --privacy=PUBLIC:tcpmesh.testing \
	  $$(sed -n 's/^## \(.*\)/--privacy=PUBLIC:\1 --privacy=PUBLIC:\1.**/p' docs/api.md)

changelog: $(VENV)/.has-check
	@$(BIN)/towncrier build --draft --version Unreleased 2> /dev/null

bench: $(VENV)/.has-test
	$(BIN)/python benchmarks/run $(OPTIONS)
	$(BIN)/python -m benchmarks.overview

bench-growth: $(VENV)/.has-test
	$(BIN)/python -m benchmarks.growth $(OPTIONS)

bench-waits: $(VENV)/.has-test
	$(BIN)/python -m benchmarks.waits $(OPTIONS)

bench-micro: $(VENV)/.has-test
	$(BIN)/python -m benchmarks.micro $(OPTIONS)

bench-config: $(VENV)/.has-test
	$(BIN)/python -m benchmarks.config

bench-start: $(VENV)/.has-test
	$(BIN)/python -m benchmarks.start $(OPTIONS)

record-verdicts: $(VENV)/.has-test
	$(BIN)/python -m tests.config.record $(ENVOY)

record-runtime: $(VENV)/.has-test
	$(BIN)/python -m tests.runtime.record $(ENVOY)

record-tls: $(VENV)/.has-test
	$(BIN)/python -m tests.net.tls.record $(ENVOY)

record-schema: $(VENV)/.has-test
	$(BIN)/python -m tests.config.schema.record $(ENVOY)

record-filters: $(VENV)/.has-test
	$(BIN)/python -m tests.differential.record_filters $(ENVOY)

own-schema: $(VENV)/.has-test
	$(BIN)/python -m tests.config.schema.own

screenshots: $(VENV)/.has-test
	$(BIN)/python -m tests.integration.screenshots

$(AXE):
	@mkdir -p $(@D)
	-@command -v npm > /dev/null && cd $(@D) && npm pack --silent axe-core@$(AXE_VERSION) > /dev/null && \
	  tar --extract --strip-components=1 --touch --file axe-core-$(AXE_VERSION).tgz package/axe.min.js

wheel: $(VENV)/.has-test
	$(BIN)/python -m build --wheel

dist: $(VENV)/.has-test
	rm -rf dist
	$(BIN)/python -m build

# The wheel in an environment of its own, without pip and setuptools: what a user gets, and no more.
sbom: wheel $(VENV)/.has-release
	rm -rf build/sbom
	$(PYTHON) -m venv --without-pip build/sbom
	$(BIN)/python -m pip --python build/sbom/bin/python install --quiet dist/tcpmesh-*.whl
	$(BIN)/cyclonedx-py environment --output-file build/tcpmesh.cdx.json build/sbom/bin/python

clean:
	rm -rf $(VENV) $(VENV)-lowest build dist *.egg-info _trial_temp* .mypy_cache .ruff_cache .hypothesis .coverage* htmlcov \
	  twisted/plugins/dropin.cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# One stamp for each set of packages that .venv has; made anew where setup.cfg or pyproject.toml is newer.
$(VENV)/bin/python:
	@command -v $(PYTHON) > /dev/null || { echo 'There is no $(PYTHON) here.  On Debian or Ubuntu: apt install python3-venv'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo 'tcpmesh needs Python 3.10 or newer; this is '"$$($(PYTHON) --version 2>&1)"'.  Try: make PYTHON=python3.12 ...'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'Python has no venv module here.  On Debian or Ubuntu: apt install python3-venv'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.has-run: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.has-test: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.has-run

$(VENV)/.has-check: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[check]'
	@touch $@ $(VENV)/.has-test $(VENV)/.has-run

$(VENV)/.has-fuzz: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[fuzz]'
	@touch $@ $(VENV)/.has-test $(VENV)/.has-run

# The tools that write pages, and those of a release, beside all others.
$(VENV)/.has-docs: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[docs]'
	@touch $@ $(VENV)/.has-run

$(VENV)/.has-release: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[release]'
	@touch $@ $(VENV)/.has-run

# An environment beside .venv, made anew from nothing: what is there already might satisfy a bound that is wrong.
$(VENV)-lowest/.has-test: setup.cfg pyproject.toml tools/lowest.py
	rm -rf $(VENV)-lowest
	$(PYTHON) -m venv $(VENV)-lowest
	$(PYTHON) tools/lowest.py test cel > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/pip install --quiet --editable '.[test]' --constraint $(VENV)-lowest/constraints.txt
	@touch $@
