# The porcelain: each verb of the house in two words. `make help` lists them.
#
# What a verb does is written in scripts/; here is only what depends on what, so that a second
# `make` does nothing and a touched file rebuilds what was made from it.

MAKEFLAGS += --no-builtin-rules --no-print-directory
export CC

# Every C file that declares itself a variant, by rung. Which one is the default, package.json says.
VARIANTS := $(shell sed -n 's/^LIBMALLOC_VARIANT( *\([0-9.]*\) *, *\([A-Za-z0-9_]*\) *).*/\1 \2/p' \
              native/*.c | sort -n | cut -d' ' -f2)
ifeq ($(origin VARIANT),undefined)
  default := $(shell sed -n 's/^ *"variant": *"\(.*\)".*/\1/p' package.json)
else
  default := $(VARIANT)
endif
ifeq ($(filter $(default),$(VARIANTS)),)
  $(error libmalloc: no variant is called '$(default)'; there are: $(VARIANTS))
endif

modules   := node_modules/.package-lock.json
release   := build/release/.built
debug     := build/debug/.built
js        := build/js/.built
tsx       := node_modules/.bin/tsx
libmalloc := node build/js/cli.js
scripts   := $(shell find scripts -name '*.ts' -o -path 'scripts/view/page/*')
builder   := $(addprefix scripts/build/,index.ts native.ts run-steps.ts) \
             $(addprefix scripts/malloc/,mallocs.ts variants.ts) \
             $(addprefix scripts/lib/,compile.ts flags.ts native-files.ts paths.ts)

## make                       build the libraries and the command, link ./libmalloc.so to the default
## make VARIANT=list          the same, with ./libmalloc.so linked to that variant
.PHONY: all
all: $(release) $(js) libmalloc.so

## make debug                 the libraries with -Og -g3 and asserts, under build/debug/
.PHONY: debug
debug: $(debug) build/debug/libmalloc.so

## make run                   watch real programs run on every variant (VARIANT=list: on that one)
## make run CMD='ls -l /'     run one command, on VARIANT
.PHONY: run
run: $(release) $(js)
	$(need-node)
ifdef CMD
	@$(libmalloc) run -m $(default) -- $(CMD)
else
	@node build/js/demo/index.js $(VARIANT)
endif

## make test                  all tests (TESTS='tests/run/run.test.ts': these; REQUIRE=1: nothing skipped
##                            for want of a program)
.PHONY: test
test: all $(debug)
	$(need-node)
	@REQUIRE=$(REQUIRE) node_modules/.bin/vitest run --config tests/vitest.config.ts $(TESTS)

## make test-long             the same, with the tests that take long
.PHONY: test-long
test-long: all $(debug)
	$(need-node)
	@LONG=1 REQUIRE=$(REQUIRE) node_modules/.bin/vitest run --config tests/vitest.config.ts $(TESTS)

## make ports                 the C programs on other platforms and under other compilers, as root, for hours; what
##                            was run goes into docs/platforms.md (JOB='Debian 13': these jobs; PARTS='paged sharded':
##                            only these variants)
.PHONY: ports
ports: $(js)
	$(need-node)
	@PORTS=1 $(if $(PARTS),VARIANTS='$(PARTS)') node_modules/.bin/vitest run --config tests/vitest.config.ts tests/ports/all.ports.test.ts \
	  $(if $(JOB),-t '$(JOB)'); status=$$?; node build/js/docs/index.js --draw && exit $$status

## make gdb CMD='ls -l /'     debug a command on VARIANT, heap commands loaded
.PHONY: gdb
gdb: $(release) $(debug) $(js)
	$(need-node)
	$(call need,gdb,gdb)
	@$(libmalloc) gdb --debug -m $(default) -- $(or $(CMD),ls -l /)

## make bench                 measure side by side: ours, glibc and the installed peers, some 25 minutes
## make bench ARGS=--quick    the same in three (ARGS is what `libmalloc bench --help` names)
.PHONY: bench
bench: $(release) $(js)
	$(need-node)
	@$(libmalloc) bench $(ARGS)

## make bench-gdb             what GDB's heap commands take on five million blocks (BLOCKS=N: on so many), on each
##                            malloc with a reader, for docs/debugging.md
.PHONY: bench-gdb
bench-gdb: $(release) $(debug) $(js)
	$(need-node)
	$(call need,gdb,gdb)
	@node build/js/docs/index.js --costs $(or $(BLOCKS),5000000)

## make docs                  measure, then regenerate every generated document and picture
##                            (DRAW=1: only draw; BENCH=FILE: from `libmalloc bench --json FILE`;
##                            one part alone: LADDER=1, LIFE=1: the long lives of docs/bench.md
##                            (LIFE=FILE: from `libmalloc bench life --json FILE`),
##                            HUNT=1: the hunts of docs/debugging.md, HEAPS=1: the heap maps,
##                            SAFETY=3600: docs/safety.md, random calls for so many seconds in all;
##                            0: theirs stay as they are,
##                            JUDGED=FOLDER: fetches and builds the mallocs of tests/public there, and
##                            judges them for docs/safety.md: half an hour and more)
.PHONY: docs
docs: $(release) $(debug) $(js)
	$(need-node)
	@node build/js/docs/index.js $(if $(BENCH),--bench '$(BENCH)') $(if $(SAFETY),--safety '$(SAFETY)') \
	  $(if $(DRAW),--draw) $(if $(HEAPS),--heaps) $(if $(LADDER),--ladder) $(if $(HUNT),--hunt) \
	  $(if $(JUDGED),--judged '$(JUDGED)') \
	  $(if $(LIFE),$(if $(filter 1,$(LIFE)),--life,--life-from '$(LIFE)'))

## make deps                  install the Debian packages that tests and demonstrations use (as root;
##                            otherwise show the command)
# Not nodejs: Node is there already, and Debian's would take its place.
# A package that another release calls otherwise is `old:new`.
packages = $(filter-out nodejs,$(shell node -e "$(needed)" | sort -u))
needed   = Object.values(JSON.parse(require('fs').readFileSync('tests/programs.json'))).forEach( \
             ({ package: name, or }) => console.log(or ? name + ':' + or.package : name))
missing  = $(shell for p in $(packages); do dpkg-query -W -f '$${Status}\n' $$(echo $$p | tr : ' ') \
             2>/dev/null | grep -q ' installed$$' || echo $$p; done)
here     = $$(for p in $(missing); do for q in $$(echo $$p | tr : ' '); do \
             if apt-cache show $$q 2>/dev/null | grep -q ^Package:; then echo $$q; break; fi; done; done)
apt-get := apt-get install -y --no-install-recommends
.PHONY: deps
deps:
	$(call need,apt-get,apt (this is for Debian and its relatives))
	@if [ -z "$(missing)" ]; then echo 'All packages of tests/programs.json are installed.'; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -q && DEBIAN_FRONTEND=noninteractive $(apt-get) $(here); \
	else echo "Not root; type this: sudo $(apt-get)" $(here); fi

## make install               copy all of it to PREFIX (/usr/local), below DESTDIR; libraries to LIBDIR (PREFIX/lib)
## make uninstall             remove what install put there
PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
system   = node build/js/system/index.js $(1) --prefix '$(PREFIX)' --libdir '$(LIBDIR)' --destdir '$(DESTDIR)' \
           --variant '$(default)'
.PHONY: install uninstall
install: all $(debug)
	@$(call system,install)

uninstall: $(js)
	@$(call system,uninstall)

## make deb                   Debian packages in build/deb: libmalloc0, libmalloc-dev and libmalloc, the command
.PHONY: deb
deb: all $(debug)
	$(call need,dpkg-deb,dpkg)
	@$(call system,deb)

## make prebuilds             the libraries of the npm package, for each platform of scripts/build/prebuilds.ts
##                            (PLATFORMS='linux-x64-glibc': for these)
.PHONY: prebuilds
prebuilds: $(modules)
	$(need-node)
	$(call need,bash,bash)
	$(call need,dwz,dwz)
	@$(tsx) scripts/build/prebuilds.ts $(PLATFORMS)

.PHONY: prepack
prepack: $(js)
	@$(tsx) scripts/build/prebuilds.ts --fresh

## make clean                 remove everything that was built (node_modules stays)
.PHONY: clean
clean:
	@rm -rf build prebuilds native/build native/gdb/__pycache__ libmalloc.so

## make help                  this list
.PHONY: help
help:
	@sed -n 's/^## //p' Makefile
	@echo
	@echo 'Variants: $(VARIANTS). `npx libmalloc --help` has the rest.'

# What is made, and from what. A library that somebody removed counts as a changed source; so does
# another compiler.

.PHONY: FORCE
libraries = $(patsubst %,build/$(1)/libmalloc-%.so,$(VARIANTS) probe trace layout profile) build/$(1)/libmalloc-replay
lacking   = $(if $(filter-out $(wildcard $(2)),$(2)),FORCE)
changed   = $(if $(filter-out $(CC),$(file <$(1))),FORCE)
sources  := $(wildcard $(addprefix native/,*.c *.h */*.c */*.h */*/*.h)) native/flags.json $(builder)

$(release): $(sources) $(call lacking,,$(call libraries,release)) $(call changed,$(release)) | $(modules)
	$(call need,$(firstword $(CC)),gcc libc6-dev)
	$(need-node)
	$(call need,bash,bash)
	@$(tsx) scripts/build/index.ts release
	@echo '$(CC)' >$@

$(debug): $(sources) $(call lacking,,$(call libraries,debug)) $(call changed,$(debug)) | $(modules)
	$(call need,$(firstword $(CC)),gcc libc6-dev)
	$(need-node)
	$(call need,bash,bash)
	@$(tsx) scripts/build/index.ts debug
	@echo '$(CC)' >$@

$(js): $(scripts) tsconfig.json $(call lacking,,build/js/cli.js build/js/view/page.html) $(modules)
	$(need-node)
	$(call need,bash,bash)
	@$(tsx) scripts/build/index.ts js
	@touch $@

# Order-only: a link is stale when it points elsewhere, whatever its age.
stale = $(if $(filter-out $(2),$(shell readlink $(1))),FORCE)

libmalloc.so: $(call stale,libmalloc.so,build/release/libmalloc-$(default).so) | $(release)
	@ln -sfn build/release/libmalloc-$(default).so $@
	@echo '  link $@ → build/release/libmalloc-$(default).so'

build/debug/libmalloc.so: $(call stale,build/debug/libmalloc.so,libmalloc-$(default).so) | $(debug)
	@ln -sfn libmalloc-$(default).so $@

# Modules that `npm install` put there already, in the versions of the lockfile, need no second time.
# Nothing here needs an install script of its own.
$(modules): package-lock.json
	$(need-node)
	@node -e "$(same-modules)" 2>/dev/null || { $(call lacks,npm,npm); echo '  npm  ci'; npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; }
	@touch $@

same-modules = \
  const [want, have] = ['package-lock.json', '$(modules)'].map((file) => \
    JSON.parse(require('fs').readFileSync(file, 'utf8')).packages); \
  const good = Object.keys(have).every((key) => want[key]?.version === have[key].version) && \
    Object.keys(want).every((key) => key === '' || want[key].optional || have[key]); \
  process.exit(good ? 0 : 1)

# The oldest Node, as package.json has it: `>=20.19`.
oldest-node := $(shell sed -n 's/^ *"node": *">=\([0-9.]*\)".*/\1/p' package.json)
need-node = @node -e "$(new-enough)" 2>/dev/null || \
  { echo "libmalloc: Node $(oldest-node) or newer is needed, found $$(node --version 2>/dev/null || echo none);" \
    "install it from https://nodejs.org/en/download" >&2; exit 1; }
new-enough = \
  const [major, minor] = process.versions.node.split('.').map(Number); \
  const [oldest, least] = '$(oldest-node)'.split('.').map(Number); \
  process.exit(major > oldest || (major === oldest && minor >= least) ? 0 : 1)

# need COMMAND,PACKAGES: one line that says what to install, before something fails cryptically.
lacks = command -v $(1) >/dev/null || \
  { echo 'libmalloc: $(1) is missing; install it: apt-get install $(2)' >&2; exit 1; }
need  = @$(lacks)
