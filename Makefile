# Postern. One non-recursive Makefile; objects live in build/<mode>/.
#
#   make                 build (MODE=release|debug|asan|tsan|fuzz|cov)
#   make deps            install the Debian packages that are missing
#   make check           set up, build, run every test
#   make demo | run      a tour on the test internet | a gateway in front of you
#   make bench | fuzz    measure against peers | fuzz each parser (TIME=20 s)
#   make crash | soak    kill -9 under load (KILLS=100 MESSAGES=20000 SEED=) | half
#                        load for TIME=1200 s (RATE=)
#   make limits          limits of destinations under load (MESSAGES=20000 SEED=)
#   make bounds          memory and time when there is much of something (ONLY=)
#   make lint | format   clang-tidy and cppcheck | clang-format
#   make install         DESTDIR= PREFIX=/usr/local
#
# Sources are found by folder: a program is every .c of its folder, a unit test
# every tests/<folder>/test_*.c, a fuzz target every tests/fuzz/fuzz_*.c.

MODE    ?= release
PREFIX  ?= /usr/local
DESTDIR ?=
TIME    ?= 20
CFLAGS  ?= -O2 -g
B       := build/$(MODE)
VERSION := 0.1.0

MODES := release debug asan tsan fuzz cov
ifeq ($(filter $(MODE),$(MODES)),)
$(error MODE=$(MODE): wanted one of $(MODES))
endif

# Warnings are errors in a checkout of ours, not for packagers.
WERROR ?= $(if $(wildcard .git),yes,no)

# In-process validation of DNSSEC ([resolver] dnssec = validate): UNBOUND=no
# builds without it, and then the setting is refused.
# (Asking the compiler: libunbound.pc wants what is needed to link statically.)
ifndef UNBOUND
UNBOUND := $(if $(shell $(CC) -E -include unbound-event.h -xc /dev/null 2>/dev/null),yes,no)
endif
ifeq ($(filter yes no,$(UNBOUND)),)
$(error UNBOUND=$(UNBOUND): wanted yes or no)
endif

PKGS := openssl libuv libcares libcurl lmdb jansson libidn2 libmicrohttpd
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS_base     := $(shell pkg-config --libs libuv libidn2 2>/dev/null)
LIBS_tls      := $(shell pkg-config --libs openssl 2>/dev/null)
LIBS_curl     := $(shell pkg-config --libs libcurl 2>/dev/null)
LIBS_json     := $(shell pkg-config --libs jansson 2>/dev/null)

WARN := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wundef -Wvla \
	-Wformat=2 -Wno-unused-parameter
ifeq ($(WERROR),yes)
WARN += -Werror
endif

HARDEN := -fstack-protector-strong -fPIE
LHARDEN := -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack
MFLAGS :=
ifeq ($(MODE),release)
HARDEN += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-clash-protection \
	-fcf-protection
endif
ifeq ($(MODE),debug)
MFLAGS := -O0 -DPOSTERN_DEBUG
endif
ifeq ($(MODE),asan)
MFLAGS := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=undefined -DPOSTERN_DEBUG
endif
ifeq ($(MODE),tsan)
MFLAGS := -O1 -fno-omit-frame-pointer -fsanitize=thread -DPOSTERN_DEBUG
endif
ifeq ($(MODE),cov)
MFLAGS := -O0 --coverage -DPOSTERN_DEBUG
endif
ifeq ($(MODE),fuzz)
CC := clang-14
MFLAGS := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=undefined -DPOSTERN_DEBUG -DPOSTERN_FUZZ
WARN := $(filter-out -Wconversion,$(WARN))
endif

ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -DPOSTERN_VERSION='"$(VERSION)"' -I. \
	$(WARN) $(CFLAGS) $(HARDEN) $(MFLAGS) $(PKG_CFLAGS) \
	$(if $(filter yes,$(UNBOUND)),-DPOSTERN_UNBOUND)
# V=1 shows the commands.
V ?= 0
Q := $(if $(filter 0,$(V)),@)
SAY = $(if $(filter 0,$(V)),@echo "  $(1)  $(2)")

ALL_LDFLAGS := $(CFLAGS) $(MFLAGS) $(LHARDEN) $(LDFLAGS)

# ---- what is built ---------------------------------------------------------

CHILDREN := smtpd queue resolver policyd deliver admin
LIBSRC   := $(wildcard lib/*/*.c)
LIBOBJ   := $(LIBSRC:%.c=$(B)/%.o)
LIBA     := $(B)/libpostern.a

SRC_supervisor := $(wildcard supervisor/*.c)
SRC_ctl := $(wildcard ctl/*.c)
$(foreach c,$(CHILDREN),$(eval SRC_$(c) := $(wildcard $(c)/*.c)))

# Libraries beyond the common ones, by program.
XLIBS_supervisor := $(LIBS_tls)
XLIBS_ctl        := $(LIBS_json) $(LIBS_curl) $(LIBS_tls) \
	$(shell pkg-config --libs libcares libedit 2>/dev/null)
XLIBS_smtpd      := $(LIBS_tls) -lcrypt -lpthread
XLIBS_queue      := $(shell pkg-config --libs lmdb 2>/dev/null) -lpthread
XLIBS_resolver   := $(shell pkg-config --libs libcares 2>/dev/null) \
	$(if $(filter yes,$(UNBOUND)),-lunbound)
XLIBS_policyd    := $(LIBS_curl) $(LIBS_tls) $(shell pkg-config --libs lmdb 2>/dev/null) \
	-lpthread
XLIBS_deliver    := $(LIBS_tls)
XLIBS_admin      := $(LIBS_json) $(shell pkg-config --libs libmicrohttpd 2>/dev/null)
XLIBS_all        := $(sort $(XLIBS_supervisor) $(XLIBS_ctl) $(XLIBS_smtpd) \
	$(XLIBS_queue) $(XLIBS_resolver) $(XLIBS_policyd) $(XLIBS_deliver) $(XLIBS_admin))

PROGS := $(if $(SRC_supervisor),$(B)/postern) $(if $(SRC_ctl),$(B)/posternctl) \
	$(foreach c,$(CHILDREN),$(if $(SRC_$(c)),$(B)/postern-$(c)))
# Developers' tools (not installed): tests/tools/<name>.c makes build/<mode>/<name>
TOOLS := $(patsubst tests/tools/%.c,$(B)/%,$(wildcard tests/tools/*.c))
BENCH := $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/*.c))

UNIT  := $(patsubst %.c,$(B)/%,$(filter-out tests/tools/% tests/fuzz/% \
	tests/bench/%,$(wildcard tests/*/test_*.c tests/*/*/test_*.c)))
FUZZ  := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.PHONY: FORCE all build tools deps check check-run unit e2e demo run bench crash limits soak bounds fuzz lint \
	format install clean compile_commands.json version

all: build
build: $(PROGS) tools
tools: $(if $(filter fuzz,$(MODE)),,$(TOOLS))

# What depends on the option is made anew when it changes.
OPTION := $(B)/option-unbound
$(OPTION): FORCE
	@mkdir -p $(@D)
	@echo $(UNBOUND) | cmp -s - $@ || echo $(UNBOUND) > $@
FORCE:
$(B)/lib/conf/conf_take.o $(B)/resolver/validate.o $(B)/resolver/ub_loop.o \
	$(B)/tests/resolver/test_validate $(B)/tests/lib/conf/test_conf_load \
	$(B)/tests/lib/conf/test_conf_blob: $(OPTION)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(call SAY,CC  ,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(LIBA): $(LIBOBJ)
	@rm -f $@
	@$(AR) rcs $@ $^

# A process folder without its main is an archive that its tests link.
define PROCESS
OBJ_$(1) := $$(SRC_$(1):%.c=$(B)/%.o)
$(B)/proc-$(1).a: $$(filter-out %/main.o,$$(OBJ_$(1)))
	@rm -f $$@
	@$$(AR) rcs $$@ $$^
$(B)/$(2): $$(OBJ_$(1)) $(LIBA)
	$$(call SAY,LINK,$$@)
	$$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$(OBJ_$(1)) $(LIBA) $$(XLIBS_$(1)) $$(LIBS_base)
endef
$(eval $(call PROCESS,supervisor,postern))
$(eval $(call PROCESS,ctl,posternctl))
$(foreach c,$(CHILDREN),$(eval $(call PROCESS,$(c),postern-$(c))))
PROCLIBS := $(foreach c,supervisor ctl $(CHILDREN),$(if $(SRC_$(c)),$(B)/proc-$(c).a))

$(B)/%: tests/tools/%.c $(LIBA)
	@mkdir -p $(@D)
	$(call SAY,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -MF $@.d $(ALL_LDFLAGS) -o $@ $< $(LIBA) $(XLIBS_all) $(LIBS_base)

# fill.c and policies.c write into a store by its owner's code.
$(B)/bench/fill: $(B)/proc-queue.a
$(B)/bench/policies: $(B)/proc-policyd.a
$(B)/bench/%: tests/bench/%.c $(LIBA)
	@mkdir -p $(@D)
	$(call SAY,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -MF $@.d $(ALL_LDFLAGS) -o $@ $< \
		$(filter %/proc-queue.a %/proc-policyd.a,$^) $(LIBA) $(XLIBS_all) $(LIBS_base) -lpthread

$(B)/tests/%: tests/%.c $(LIBA) $(PROCLIBS)
	@mkdir -p $(@D)
	$(call SAY,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -MF $@.d $(ALL_LDFLAGS) -o $@ $< \
		$(filter $(B)/proc-$(word 2,$(subst /, ,$<)).a,$(PROCLIBS)) \
		$(LIBA) $(XLIBS_all) $(LIBS_base) -lcmocka

# fuzz_<process>_<what> links that process too.
$(B)/fuzz/%: tests/fuzz/%.c $(LIBA) $(PROCLIBS)
	@mkdir -p $(@D)
	$(call SAY,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -MF $@.d $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $< \
		$(filter $(B)/proc-$(word 2,$(subst _, ,$*)).a,$(PROCLIBS)) \
		$(LIBA) $(XLIBS_all) $(LIBS_base)

-include $(shell find build/$(MODE) -name '*.d' 2>/dev/null)

# ---- what is run -----------------------------------------------------------

deps:
	@sh etc/deps.sh all

# Set-up first, then a second make that sees what was installed.
check: deps
	@$(MAKE) --no-print-directory check-run
check-run: build $(UNIT) $(BENCH)
	@MODE=$(MODE) MAKE="$(MAKE)" bash tests/run.sh
unit: $(UNIT)
	@MODE=$(MODE) bash tests/run.sh unit
e2e: build $(BENCH)
	@MODE=$(MODE) bash tests/run.sh e2e

demo: deps
	@$(MAKE) --no-print-directory build
	@MODE=$(MODE) python3 tests/demo.py
run:
	@sh etc/deps.sh build
	@$(MAKE) --no-print-directory build
	@MODE=$(MODE) sh etc/run.sh

bench: deps
	@$(MAKE) --no-print-directory bench-run
bench-run: build $(BENCH)
	@MODE=$(MODE) python3 tests/bench/bench.py

KILLS    ?= 100
MESSAGES ?= 20000
SEED     ?=
crash: deps
	@$(MAKE) --no-print-directory crash-run
crash-run: build $(BENCH)
	@MODE=$(MODE) python3 -m tests.crash.crash --kills $(KILLS) --messages $(MESSAGES) \
		$(if $(SEED),--seed $(SEED))

limits: deps
	@$(MAKE) --no-print-directory limits-run
limits-run: build $(BENCH)
	@MODE=$(MODE) python3 -m tests.crash.limits --messages $(MESSAGES) \
		$(if $(SEED),--seed $(SEED))

soak: deps
	@$(MAKE) --no-print-directory TIME=$(if $(filter command% environment%,$(origin TIME)),$(TIME),1200) soak-run
soak-run: build $(BENCH)
	@MODE=$(MODE) python3 -m tests.crash.soak --time $(TIME) \
		$(if $(RATE),--rate $(RATE)) $(if $(SEED),--seed $(SEED))

bounds: deps
	@$(MAKE) --no-print-directory bounds-run
bounds-run: build $(BENCH)
	@MODE=$(MODE) python3 -m tests.bench.bounds $(ONLY)

fuzz: deps
	@$(MAKE) --no-print-directory MODE=fuzz TIME=$(TIME) fuzz-run
fuzz-build: $(FUZZ)
fuzz-run: $(FUZZ)
	@TIME=$(TIME) bash tests/fuzz/run.sh $(FUZZ)

# make lint FILES="queue/offer.c": some files only. clang-tidy needs seconds for
# each; what it says on stderr is how many warnings it did not show.
CSRC := $(shell git ls-files '*.c' '*.h' 2>/dev/null)
FILES ?= $(filter %.c,$(CSRC))
LINT_FLAGS := -D_GNU_SOURCE $(if $(filter yes,$(UNBOUND)),-DPOSTERN_UNBOUND) -DPOSTERN_VERSION='""' -I.
lint:
	@sh etc/deps.sh all
	@clang-format --dry-run -Werror $(CSRC)
	@nice cppcheck -q -j 2 --std=c11 --enable=warning,performance,portability \
		--inline-suppr --suppress=missingIncludeSystem \
		--suppress=ctuuninitvar --error-exitcode=1 \
		--library=.ci/cppcheck.cfg $(LINT_FLAGS) $(FILES)
	@printf '%s\n' $(FILES) | xargs -P 2 -n 4 sh -c 'nice clang-tidy --quiet "$$@" \
		-- -std=gnu11 $(subst ','\'',$(LINT_FLAGS)) $(PKG_CFLAGS) 2>/dev/null' sh
format:
	clang-format -i $(CSRC)

compile_commands.json:
	@for f in $(LIBSRC) $(SRC_supervisor) $(SRC_ctl) $(foreach c,$(CHILDREN),$(SRC_$(c))); do \
		printf '{"directory":"%s","file":"%s","command":"%s"},\n' "$(CURDIR)" "$$f" \
		'$(subst ",\",$(CC) $(ALL_CFLAGS)) -c '"$$f"; done | \
		sed '1s/^/[/; $$s/,$$/]/' > $@

install: build
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin \
		$(DESTDIR)$(PREFIX)/libexec/postern $(DESTDIR)$(PREFIX)/share/man/man8 \
		$(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 \
		$(DESTDIR)$(PREFIX)/share/postern/examples
	install -m 755 $(B)/postern $(DESTDIR)$(PREFIX)/sbin/
	install -m 755 $(B)/posternctl $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(foreach c,$(CHILDREN),$(B)/postern-$(c)) $(DESTDIR)$(PREFIX)/libexec/postern/
	for s in 1 5 8; do for f in docs/man/*.$$s; do [ -f "$$f" ] || continue; \
		install -m 644 "$$f" $(DESTDIR)$(PREFIX)/share/man/man$$s/; done; done
	install -m 644 etc/*.conf etc/postern.service $(DESTDIR)$(PREFIX)/share/postern/examples/
	sed -i 's,/usr/local/sbin/,$(PREFIX)/sbin/,' \
		$(DESTDIR)$(PREFIX)/share/postern/examples/postern.service

version:
	@echo $(VERSION)
clean:
	rm -rf build
