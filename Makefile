# Each target sets up what it needs: a virtual environment in .venv, pinned by constraints.txt.
# TORCH_INDEX names a package index with CPU builds of torch, where pip does not find one itself.

VENV ?= .venv
PYTHON ?= python3
SHARED ?= ../shared
TORCH_INDEX ?=
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
WEB := runtime/web
WEB_INSTALLED := $(WEB)/node_modules/.installed
EMULATED := measurements-out/emulated.json
CHROMIUM ?= /usr/bin/chromium
# Tests: of the folder tests/ROOM alone where it is named, and then without the slow ones unless
# SLOW=1. Each of the WORKERS runs the tests of one file at a time, with one thread of torch's.
ROOM ?=
SLOW ?=
WORKERS ?= 2
# Of make fuzz, in seconds.
DURATION ?= 14400
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile \
	--no-loadscope-reorder
# As a variable, since it then holds for what packages are built with, too.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

.PHONY: demo demo-generate test test-emulated test-web web-page lint results measurements docs vectors device-model \
	release test-bounds test-newest fuzz format clean

demo: $(INSTALLED)  ## fine-tune three tasks, compress them, swap them over one base
	$(BIN)/osd-edge demo -o demo-out --overwrite

demo-generate: $(INSTALLED)  ## three tasks that write, over a language model that is fetched
	$(BIN)/osd-edge demo --generate

test: $(INSTALLED)  ## all tests; make test ROOM=formats: the quick ones of one room, SLOW=1: all of it
	$(PYTEST) tests$(if $(ROOM),/$(ROOM)$(if $(SLOW),, -m "not slow"))

test-emulated: $(INSTALLED)  ## tests on an emulated arm64 machine, and over ssh; installs packages as root
	tests_emulated/install_packages.sh
	$(BIN)/python -m pytest tests_emulated tests/device_tests/test_ssh_device.py

web-page: $(WEB_INSTALLED)  ## the phone page that osd-edge serve shows
	cd $(WEB) && npm run --silent page

test-web: $(INSTALLED) $(WEB_INSTALLED) web-page  ## the JavaScript runtime, in Node and in Chromium
	cd $(WEB) && npm run --silent check
	test -x $(CHROMIUM) || { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq \
		-o DPkg::Lock::Timeout=300 --no-install-recommends chromium fonts-dejavu-core; } || \
		{ echo "needs a Chromium: install one, and name it: make test-web CHROMIUM=FILE"; exit 1; }
	PYTHONPATH=vectors OMP_NUM_THREADS=2 $(BIN)/python -m tests.web.fixtures $(WEB)/build/fixtures
	cd $(WEB) && npm run --silent test
	cd $(WEB) && OSD_EDGE=$(abspath $(BIN))/osd-edge CHROMIUM=$(CHROMIUM) npm run --silent test:browser

lint: $(INSTALLED)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

results: $(INSTALLED)  ## docs/results.md on the checkpoints in $(SHARED)
	$(BIN)/python -m benchmarks.results --shared $(SHARED) -o results-out --report docs/results.md

measurements: $(INSTALLED) $(EMULATED)  ## docs/measurements.md: what tasks cost on this machine
	$(BIN)/python -m benchmarks.measurements --shared $(SHARED) -o measurements-out --report docs/measurements.md

$(EMULATED):
	$(MAKE) $(INSTALLED)
	tests_emulated/install_packages.sh
	$(BIN)/python -m benchmarks.emulated -o measurements-out --tokens 32

docs: $(INSTALLED)  ## docs/errors.md from the table of codes
	$(BIN)/python -m osd_edge.errors.page > docs/errors.md.new
	mv docs/errors.md.new docs/errors.md

vectors: $(INSTALLED)  ## make vectors/v1 anew, and the copy that devices check themselves with
	$(BIN)/python vectors/generate.py
	$(BIN)/python vectors/device_files.py

device-model: $(INSTALLED)  ## make the small models that devices check themselves with anew
	$(BIN)/python vectors/device_files.py --model

test-bounds: $(INSTALLED)  ## the lowest versions (but of [dynamo], [genai] and [release]), device and workstation
	$(BIN)/python -m bounds lowest

test-newest: $(INSTALLED)  ## the newest of everything
	$(BIN)/python -m bounds newest

fuzz: $(INSTALLED) $(WEB_INSTALLED)  ## mutated files at every reader for DURATION seconds, then the branches reached
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	cd $(WEB) && npx --no-install tsc -p tsconfig.json
	OMP_NUM_THREADS=1 $(BIN)/python -m fuzz run --seconds $(DURATION) --processes $(WORKERS)
	OMP_NUM_THREADS=1 $(BIN)/python -m fuzz coverage

release: $(INSTALLED)  ## sdist, wheel and npm package of the last commit in dist/, built twice and tried out
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[release]'
	$(BIN)/python -m release -o dist

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info demo-out demo-generate-out results-out measurements-out fuzz-out
	rm -rf $(addprefix $(WEB)/,node_modules build dist page)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch \
		$(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

# Without install scripts: those of some packages fetch binaries that nothing here needs.
$(WEB_INSTALLED): $(WEB)/package.json $(WEB)/package-lock.json
	cd $(WEB) && npm ci --ignore-scripts --no-audit --no-fund
	touch $@
