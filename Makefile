# What there is to run. `make` alone lists it.

ALLOW ?=
BLOCK ?=
ACCEPT ?=
HOURS ?= 1
PART ?=
SECONDS ?= 60
TARGETS ?=
KEEP ?=
SANITIZER ?= none
BINARY ?=
ONLY ?=

# Under sudo, Rust may be at home in the folder of the user who calls it.
CALLER_HOME := $(if $(SUDO_USER),$(shell getent passwd "$(SUDO_USER)" | cut -d: -f6))
ifeq ($(shell command -v cargo),)
export PATH := $(PATH):$(HOME)/.cargo/bin$(if $(CALLER_HOME),:$(CALLER_HOME)/.cargo/bin)
ifneq ($(and $(CALLER_HOME),$(wildcard $(CALLER_HOME)/.rustup)),)
export RUSTUP_HOME ?= $(CALLER_HOME)/.rustup
endif
endif

GEOFILTER := target/release/geofilter

.PHONY: help up demo demo-fleet test booted upgrade bench benches lab soak audience fleet kernels update build deb deps data lint fuzz
.NOTPARALLEL:

help:
	@echo 'make up                 build, and observe on this host: nothing is dropped'
	@echo 'make up ALLOW="ES PT"   let in only these countries; BLOCK="..." keeps countries out;'
	@echo '                        ACCEPT="lose-phones" accepts a danger that it names'
	@echo 'make demo               see it work between network namespaces of its own'
	@echo 'make demo-fleet         see one choice reach 50 hosts, and their portal die, between namespaces of their own'
	@echo 'make test               run all tests'
	@echo 'make bench              measure speed and size beside others, into bench/RESULTS.md;'
	@echo '                        PART=nft measures that of nftables alone anew, into bench/NFTABLES.md'
	@echo 'make benches            criterion benches of the pure parts, without root'
	@echo 'make lab                attacks on a real PBX during calls, with filters and without, into bench/LAB.md;'
	@echo '                        PART=floods measures that alone anew'
	@echo 'make soak HOURS=1       attacks, calls and changes for hours: what grows, into bench/SOAK.md; then what ten thousand'
	@echo '                        hosts count for as long, into bench/FLEET.md'
	@echo 'make fleet              ten thousand hosts at one portal for a quarter of an hour, into bench/FLEET.md'
	@echo 'make audience           200 operators at the web page during a flood, into bench/AUDIENCE.md'
	@echo 'make update             what an update of the country data costs, into bench/UPDATE.md'
	@echo 'make kernels            boot kernels of Debian from 5.10 on, for two architectures, and filter on each, into docs/kernels.md;'
	@echo '                        ONLY=5.10 boots those alone'
	@echo 'make booted             install, reboot, upgrade and remove the package in a Debian that is booted;'
	@echo '                        BINARY=FILE packages that one, as scripts/release makes it'
	@echo 'make build              build $(GEOFILTER)'
	@echo 'make upgrade            upgrade from another build (FROM=COMMIT) and back during calls and an attack'
	@echo 'make deb                make the Debian package, into target/debian/'
	@echo 'make lint               check format, lints, and the licences and sources of what it is made of'
	@echo 'make fuzz               read what nobody would write, by each target for SECONDS=60 (docs/hostile.md)'
	@echo 'make deps               install the Debian packages that are missing'
	@echo 'make data               rebuild the embedded world data from data/sources'

up: require-root build
	@$(GEOFILTER) up $(if $(ALLOW),--allow $(ALLOW)) $(if $(BLOCK),--block $(BLOCK)) $(addprefix --accept-risk ,$(ACCEPT))

demo: require-root
	@scripts/deps lab
	@$(MAKE) --no-print-directory build
	@target/release/demo

demo-fleet: require-root
	@scripts/deps lab
	@$(MAKE) --no-print-directory build
	@target/release/demo-fleet

build:
	@scripts/deps build
	@scripts/page
	@echo 'Building $(GEOFILTER)'
	@cargo build --release --locked --quiet

deb:
	@scripts/deps build
	@scripts/page
	@binary=$$(scripts/release) && scripts/deb $$binary

test: require-root
	@scripts/deps lab
	@scripts/page
	@scripts/test

bench: require-root build
	@scripts/deps lab
	@PART=$(PART) cargo bench --workspace --locked --quiet --bench performance

benches:
	@scripts/deps build
	@cargo bench --locked --quiet -p geofilter-core --bench '*'

lab: require-root build
	@scripts/deps lab
	@target/release/lab $(PART)

soak: require-root build
	@scripts/deps lab
	@target/release/soak $(HOURS)
	@MINUTES=$$(awk 'BEGIN { print int($(HOURS) * 60) }') target/release/crowd

# Boots a Debian with systemd, for which not every machine has what it takes.
booted: require-root
	@apt-get install -y --no-install-recommends mmdebstrap systemd-container dpkg >/dev/null
	@scripts/deps lab
	@scripts/page
	@scripts/fetch debian >/dev/null
	@cargo build --workspace --locked --quiet
	@GEOFILTER_BINARY=$(abspath $(BINARY)) cargo test --workspace --locked --test package

# The kernels are emulated, so it takes minutes. The same programs run on the host and in the machines.
KERNELS := x86_64 aarch64
kernels:
	@scripts/deps build
	@scripts/deps kernels
	@scripts/page
	@for machine in $(KERNELS); do echo "Building for $$machine"; \
		scripts/static $$machine build --workspace --locked --quiet --bin geofilter --bin kernels || exit 1; done
	@target/$$(uname -m)-unknown-linux-musl/debug/kernels $(ONLY)

# From the release before, or any commit whose agent starts after this one's: FROM=HEAD~10
upgrade: require-root
	@scripts/deps lab
	@scripts/page
	@scripts/previous $(FROM)
	@cargo build --workspace --locked --quiet
	@cargo test --workspace --locked --test upgrades

audience: require-root build
	@scripts/deps lab
	@target/release/audience

fleet: require-root build
	@scripts/deps lab
	@target/release/crowd

update: require-root build
	@scripts/deps lab
	@target/release/update

# In a folder of its own: `make test` runs both at a time, and Cargo lets one build at a time in a folder.
lint:
	@scripts/deps build
	@scripts/page
	cd web && ../scripts/node npm run --silent check
	cargo fmt --all --check
	CARGO_TARGET_DIR=target/lint cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	@scripts/deny

fuzz:
	@scripts/deps fuzz
	@KEEP='$(KEEP)' SANITIZER='$(SANITIZER)' scripts/fuzz '$(SECONDS)' $(TARGETS)

deps:
	@scripts/deps lab

data:
	@scripts/deps build
	cargo run --release --locked --quiet -p geofilter-lab --bin build-images

.PHONY: require-root
require-root:
	@[ "$$(id -u)" = 0 ] || { echo 'geofilter: this needs root, run it with sudo' >&2; exit 1; }
