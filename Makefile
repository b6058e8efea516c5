# What people type. Meson builds, scripts/ does the rest; CONTRIBUTING.md explains.

BUILD = build
PREFIX = /usr/local

.PHONY: all run test test-all bench fuzz asan tsan lint format install uninstall clean

all: $(BUILD)/build.ninja
	@[ -e $(BUILD)/manus ] || echo "make: building $(BUILD)/manus (a minute or so)" >&2
	@ninja -C $(BUILD) --quiet

$(BUILD)/build.ninja:
	@scripts/deps
	@echo "make: preparing $(BUILD)" >&2
	@meson setup $(BUILD) >/dev/null

run: all
	@[ -e .env ] || $(BUILD)/manus init
	@exec $(BUILD)/manus serve

test:
	@scripts/deps test
	@scripts/test

# What test leaves out: lint, everything under sanitizers, fuzzing, loads, long stories.
test-all:
	@scripts/deps test
	@scripts/test long

bench:
	@scripts/deps bench
	@$(MAKE) --no-print-directory all
	@bench/run

fuzz:
	@scripts/deps test
	@scripts/fuzz

asan:
	@scripts/deps test
	@scripts/test asan

tsan:
	@scripts/deps test
	@scripts/test tsan

lint:
	@scripts/deps test
	@scripts/test lint

format:
	@clang-format-16 -i $$(git ls-files 'src/*.[ch]' 'tests/*.[ch]')

install: all
	@scripts/install $(BUILD)/manus $(PREFIX)

uninstall:
	@scripts/install --remove $(PREFIX)

clean:
	rm -rf $(BUILD) $(BUILD)-*
