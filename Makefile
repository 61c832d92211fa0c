# Verge's build: `make help` names the targets. One makefile, no recursion; what needs more than a
# line or two of shell is a script under tools/.
#
#   BUILD=asan|tsan|debug    another build beside the optimised one, in build/asan and so on
#   BORINGSSL=PREFIX         that BoringSSL instead of the default one
#   CC=, CFLAGS=, LDFLAGS=   as usual; CFLAGS adds to the build's own flags

VERSION := 0.1.0
PREFIX  ?= /usr/local
SHELL   := /bin/bash
MAKEFLAGS += --no-builtin-rules --jobs=$(shell nproc)
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

# ---- flavours ----

# These goals have a flavour of their own, so that they share no object with the installed program.
ifeq ($(MAKECMDGOALS),check)
BUILD ?= check
else ifeq ($(MAKECMDGOALS),chaos)
BUILD ?= asan
else ifeq ($(MAKECMDGOALS),fuzz)
BUILD ?= fuzz
endif

sanitize_asan := -fsanitize=address,undefined -fno-sanitize-recover=all
# A variable that nobody has set is the same wrong value each time, not what happens to lie there.
pattern_init := -ftrivial-auto-var-init=pattern
flags_   := -O2
flags_debug := -O0
flags_check := -O1 -Werror $(pattern_init)
flags_asan  := -O1 -fno-omit-frame-pointer $(sanitize_asan) $(pattern_init)
flags_tsan  := -O1 -fno-omit-frame-pointer -fsanitize=thread
flags_fuzz  := -O1 -fno-omit-frame-pointer $(sanitize_asan) $(pattern_init) -fsanitize=fuzzer-no-link
ifeq ($(origin flags_$(BUILD)),undefined)
$(error BUILD=$(BUILD) is none of debug, asan, tsan)
endif
ifeq ($(origin CC),default)
CC := $(if $(filter fuzz,$(BUILD)),clang,gcc)
endif

OUT  := build$(BUILD:%=/%)
DEPS := build/deps

warnings := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wwrite-strings -Wvla -Wundef
cflags := -std=gnu17 -g $(flags_$(BUILD)) $(warnings) -pthread -I. -isystem $(DEPS)/include \
          -D_GNU_SOURCE= -DVERGE_VERSION='"$(VERSION)"' $(CFLAGS)
# What nghttp3 would leave out of a request goes by h3/session.c, which refuses it (--wrap). An archive
# defines what the one before it needs. A BoringSSL of one's own may need C++'s library.
libs := -L$(DEPS)/lib -Wl,--gc-sections -Wl,--wrap=nghttp3_http_on_header -lngtcp2_crypto_boringssl -lngtcp2 -lnghttp3 -lnghttp2 \
        -lbrotli -lz -llmdb -luring -lssl -lcrypto $(if $(BORINGSSL),-lstdc++) -lresolv -lm

# ---- files ----

sources := $(wildcard edge/*.c edge/base/*.c edge/io/*.c protocols/*.c protocols/*/*.c cache/*.c purge/*.c)
objects := $(patsubst %.c,$(OUT)/obj/%.o,$(filter-out edge/main.c,$(sources)))
library := $(OUT)/libverge.a
units   := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(wildcard tests/unit/test_*.c))
corpora := $(patsubst tests/fuzz/fuzz_%.c,$(OUT)/corpus/fuzz_%,$(wildcard tests/fuzz/fuzz_*.c))
fuzzers := $(corpora:$(OUT)/corpus/%=$(OUT)/fuzz/%)
verge   := $(OUT)/verge
standalone := build/origin build/bench/floor build/bench/load build/bench/handshake

# Packages as tools/packages takes them: name, or name:command.
packages_build := gcc:gcc g++:g++ libc6-dev patch:patch xz-utils:xz
packages_check := libcmocka-dev python3
packages_test  := $(packages_check) python3-pytest python3-pytest-xdist python3-h2 python3-hpack \
                  python3-hyperframe curl:curl wrk:wrk openssl:openssl nghttp2-client:h2load \
                  ngtcp2-client:gtlsclient testssl.sh:testssl nginx:nginx
packages_clients := $(packages_test) chromium:chromium
packages_fuzz  := clang:clang
packages_h2load := libev-dev
packages_bsslserver := libev-dev
packages_curl := cmake:cmake
packages_bench := nginx:nginx varnish:varnishd haproxy:haproxy h2o:h2o caddy:caddy wrk:wrk \
                  openssl:openssl python3

##@ Building
.PHONY: all verge deps run check test test-all test-e2e test-threads test-clients soak crash chaos fuzz fuzz-corpus mutations bench bench-cache bench-disk format analyze compile_commands clean install help FORCE

all: verge                  ## build/verge (BUILD=asan, tsan, debug: build/asan/verge and so on)
verge: $(verge)
deps: $(OUT)/flags          ## fetch and build the libraries, once per machine

# What every object depends on: rewritten only when the flags or the libraries are other than before.
$(OUT)/flags: FORCE
	@tools/packages $(packages_build) $(if $(filter clang,$(CC)),$(packages_fuzz))
	@BORINGSSL='$(BORINGSSL)' tools/deps/build $(DEPS)
	@mkdir -p $(@D)
	@flags="$(CC) $(subst ",,$(cflags)) $(LDFLAGS) $$(readlink $(DEPS))"; \
	    [ "$$flags" = "$$(cat $@ 2>/dev/null)" ] || echo "$$flags" >$@

$(OUT)/obj/%.o: %.c $(OUT)/flags
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(cflags) -MMD -MP -c $< -o $@

$(library): $(objects)
	@rm -f $@
	@ar rcs $@ $(objects)

$(verge): $(OUT)/obj/edge/main.o $(library)
	@echo "  LINK  $@"
	@$(CC) $(cflags) $(LDFLAGS) $^ $(libs) -o $@

# Programs that link nothing of verge and need no sanitizer: one for all flavours.
build/origin: tools/origin.c
build/bench/floor: bench/floor.c bench/ring.c bench/ring.h
build/bench/load: bench/load.c
build/bench/handshake: bench/handshake.c
$(standalone): | $(OUT)/flags
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@gcc -std=gnu17 -O2 -g $(warnings) -pthread -I. -isystem $(DEPS)/include $(filter %.c,$^) \
	    -L$(DEPS)/lib -Wl,--as-needed -lssl -lcrypto $(if $(BORINGSSL),-lstdc++) -lm -o $@

# The bench of the policies runs the node's own.
$(OUT)/bench/cache: $(patsubst %,$(OUT)/obj/bench/%.o,cache requests tiers) $(library)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(cflags) $(LDFLAGS) $^ $(libs) -o $@

build/trace.csv: bench/trace.py
	@tools/packages python3
	@mkdir -p $(@D)
	@python3 $< >$@

# What speaks HTTP/3, of which Debian 12 has nothing. Asked every time: a link into the cache is no date.
tools := curl h2load bsslserver
$(tools:%=build/tools/%): build/tools/%: FORCE | $(OUT)/flags
	@tools/packages $(packages_$*)
	@tools/deps/tool $* $(DEPS) $@

# The tests' QUIC client: the node's libraries, but nothing of the node.
build/quicclient: $(wildcard tests/client/*.c) $(wildcard tests/client/*.h) | $(OUT)/flags
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@gcc -std=gnu17 -O2 -g $(warnings) -D_GNU_SOURCE= -isystem $(DEPS)/include $(filter %.c,$^) $(libs) -o $@

# A disk that fails on demand, for the scenarios of the disk cache.
build/fault.so: tests/fault.c | $(OUT)/flags
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@gcc -std=gnu17 -O2 -g $(warnings) -D_GNU_SOURCE= -fPIC -shared $< -ldl -o $@

$(units:$(OUT)/unit/%=$(OUT)/obj/tests/unit/%.o): | packages-check
$(units): $(OUT)/unit/%: $(OUT)/obj/tests/unit/%.o $(library)
	@mkdir -p $(@D)
	@$(CC) $(cflags) $(LDFLAGS) $^ -lcmocka $(libs) -o $@

$(corpora): $(OUT)/corpus/%: $(OUT)/obj/tests/fuzz/%.o $(OUT)/obj/tests/fuzz/driver.o $(library)
	@mkdir -p $(@D)
	@$(CC) $(cflags) $(LDFLAGS) $^ $(libs) -o $@

$(fuzzers): $(OUT)/fuzz/%: $(OUT)/obj/tests/fuzz/%.o $(library)
	@mkdir -p $(@D)
	@$(CC) $(cflags) -fsanitize=fuzzer $(LDFLAGS) $^ $(libs) -o $@

-include $(shell [ ! -d $(OUT)/obj ] || find $(OUT)/obj -name '*.d')

install: $(verge)           ## install into $(DESTDIR)$(PREFIX)
	install -D -m 755 $(verge) $(DESTDIR)$(PREFIX)/bin/verge
	install -D -m 644 verge.conf $(DESTDIR)$(PREFIX)/share/doc/verge/verge.conf

clean:                      ## remove build/ (the libraries stay in the cache)
	rm -rf build

##@ Trying
run: $(verge) build/origin  ## start Verge before a demo origin (ORIGIN=http://HOST:PORT: before that one)
	@tools/run-demo $(verge) build/origin build/cache $(ORIGIN)

##@ Testing
check: $(verge) packages-check $(units)  ## seconds: warnings as errors, layers, unit tests
	@tools/run-tests --build '$(BUILD)' layers unit

scenarios := $(verge) build/origin build/quicclient build/fault.so packages-test
tests := $(scenarios) $(units) $(corpora)

test: $(tests)  ## everything (BUILD=asan, tsan: in those builds)
	@tools/run-tests --build '$(BUILD)' layers unit fuzz config e2e

test-all: $(tests)  ## the same, each scenario over each protocol with each tier
	@tools/run-tests --build '$(BUILD)' layers unit fuzz config everything

test-e2e: $(scenarios)  ## the scenarios alone
	@tools/run-tests --build '$(BUILD)' e2e

test-threads: $(scenarios)  ## those about what several threads touch, for BUILD=tsan
	@tools/run-tests --build '$(BUILD)' threads

test-clients: $(verge) packages-clients build/tools/curl build/tools/h2load  ## a browser, and clients with HTTP/3
	@tools/run-tests --build '$(BUILD)' clients

soak: $(verge) build/origin build/tools/curl build/tools/h2load  ## load with reloads, large bodies, slow clients
	@tests/soak $(ARGS)

crash: $(verge) packages-test  ## kill it while it writes its disk, hundreds of times, and look at what it serves then
	@tests/crash $(ARGS)

chaos: $(verge) build/quicclient packages-test  ## everything at once, for an hour under ASan (BUILD=tsan; ARGS='--seconds N --seed N')
	@VERGE_BUILD='$(BUILD)' tests/chaos $(ARGS)

mutations: packages-test  ## put mistakes into the product, one at a time: each must be seen by a test
	@tools/mutate $(ARGS)

fuzz-corpus: $(corpora)     ## run the fuzz targets over their corpus, without a fuzzer
	@tools/run-tests --build '$(BUILD)' fuzz

fuzz: $(OUT)/fuzz/fuzz_$(FUZZ)  ## fuzz one target: make fuzz FUZZ=name TIME=60
	@mkdir -p tests/fuzz/corpus/$(FUZZ) $(OUT)/found/$(FUZZ)
	$< -max_total_time=$(or $(TIME),60) -artifact_prefix=$(OUT)/ $(addprefix -dict=,$(wildcard tests/fuzz/$(FUZZ).dict)) \
	    $(OUT)/found/$(FUZZ) tests/fuzz/corpus/$(FUZZ)

# The disk tier's code without a server: what it costs by itself.
$(OUT)/bench/disk: $(patsubst %.c,$(OUT)/obj/%.o,$(wildcard bench/disk*.c)) $(library)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(cflags) $(LDFLAGS) $^ $(libs) -o $@

bench-disk: $(OUT)/bench/disk  ## the disk tier by itself (ARGS='-d FOLDER -s MIB': there, so large)
	@$< $(ARGS)

bench: $(verge) $(standalone) build/tools/h2load build/tools/bsslserver packages-bench  ## Verge beside its peers: tables
	@bench/run $(ARGS)

bench-cache: $(OUT)/bench/cache $(if $(TRACE),,build/trace.csv)  ## what the two tiers hold, beside other policies (TRACE=FILE, ARGS)
	@$< $(ARGS) $(or $(TRACE),build/trace.csv)

h2load: build/tools/h2load  ## nghttp2's load generator with HTTP/3, for measurements
curl: build/tools/curl      ## curl with HTTP/3, for the tests

.PHONY: $(tools) packages-check packages-test packages-bench packages-clients
packages-check packages-test packages-bench packages-clients: packages-%:
	@tools/packages $(packages_$*)

##@ Working on it
format:                     ## clang-format over all sources
	@tools/packages clang-format:clang-format
	clang-format -i $$(git ls-files '*.c' '*.h')

analyze: $(OUT)/flags       ## clang's static analyzer over all files
	@tools/packages $(packages_fuzz) python3
	@tools/analyze $(DEPS)/include

compile_commands:           ## compile_commands.json, for editors
	@tools/compile-commands $(CC) $(cflags) -- $(sources) >compile_commands.json

help:                       ## this list
	@awk -F ':.*## ' '/^##@ / { print "\n" substr($$0, 5) } \
	    /^[a-z0-9_-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
