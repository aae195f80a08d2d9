# A thin front for Meson. `make` builds build/insula; CC=clang-14 or BUILD=dir choose others.
BUILD ?= build

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

# Without what only tests need.
programs: $(BUILD)/build.ninja
	@ninja -C $(BUILD) insula insula-vmm

# Sources are found by folder, so a run of meson is needed when files come or go.
SOURCES := $(shell find src test/unit test/fuzz -name '*.c' 2>/dev/null | LC_ALL=C sort)
$(BUILD)/build.ninja: meson.build test/meson.build $(BUILD)/.sources
	@if [ -e $@ ]; then meson setup --reconfigure $(BUILD) $(MESON_FLAGS) >/dev/null; \
	else meson setup $(BUILD) $(MESON_FLAGS) >/dev/null; fi
	@touch $@

$(BUILD)/.sources: FORCE
	@mkdir -p $(BUILD); echo '$(SOURCES)' | cmp -s - $@ || echo '$(SOURCES)' > $@

asan:
	@$(MAKE) --no-print-directory BUILD=build-asan MESON_FLAGS='-Db_sanitize=address,undefined -Db_lundef=false'

install: all
	@meson install -C $(BUILD) --no-rebuild

test: all
	@meson test -C $(BUILD) --print-errorlogs

bench: all
	@bench/run
	@bench/region

clean:
	rm -rf build build-asan build-clang

FORCE:
.PHONY: all programs install asan test bench clean FORCE
