# SPDX-License-Identifier: BSD-3-Clause
# One make process, one dependency graph. Usage: make [target] [SAN=address,undefined|thread] [CC=clang] [V=1]
#
#   make            every program        make demo    the main job, end to end
#   make check      unit tests, no root  make test    every test, sets up what it needs
#   make deps       Debian packages      make fuzz SECONDS=n
#   make lib-NAME, make check-NAME       one folder only
SHELL   := /bin/bash
ifeq ($(origin CC),default)
CC      := gcc
endif
SAN     ?=
O       ?= build
comma   := ,
VARIANT := $(if $(FUZZ),fuzz,$(if $(SAN),san-$(subst $(comma),-,$(SAN)),release))$(if $(findstring clang,$(CC)),-clang)
B       := $(O)/$(VARIANT)
Q       := $(if $(V),,@)

WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wconversion -Wundef -Werror
WARN    += $(if $(findstring clang,$(CC)),-Wthread-safety)
CFLAGS  ?= -O2 -g
FUZZFLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer) $(if $(FUZZ),$(FUZZFLAGS))
CFLAGS_ALL  = -std=gnu11 $(CFLAGS) $(WARN) -fno-common -fstack-protector-strong -D_GNU_SOURCE -I. $(SANFLAGS)
LDFLAGS_ALL = $(LDFLAGS) $(SANFLAGS)

# From the ground up: a folder may use those before it, never those after it.
MODULES := base vmbus ic iscsi-session storvsp vlan nlb netvsp hypervisor iscsi-initiator cli bench tests/tools tests/kvm tests/fake_vmwp tests/interop
include $(wildcard $(addsuffix /module.mk,$(MODULES)))

.DEFAULT_GOAL := all
TESTS :=
PROGS :=
FUZZERS :=

# $(call closure,name): the folder and all folders that it depends on, dependents first.
closure = $(1) $(foreach d,$($(1)_DEPS),$(call closure,$(d)))
uniq    = $(if $(1),$(call uniq,$(filter-out $(lastword $(1)),$(1))) $(lastword $(1)))
libs    = $(foreach d,$(call uniq,$(call closure,$(1))),$(if $($(d)_SRCS),$(B)/lib$(d).a))
pkgs    = $(sort $(foreach d,$(call closure,$(1)),$($(d)_PKGS)))
ldlibs  = $(if $(call pkgs,$(1)),$$(pkg-config --libs $(call pkgs,$(1)))) $(foreach d,$(call closure,$(1)),$($(d)_LDLIBS)) -lpthread

# A folder NAME: lib$(NAME).a from NAME_SRCS, one program per NAME_PROGS (its main is NAME/PROG_main.c, or
# PROG_MAIN), one test per tests/unit/NAME/test_*.c, one fuzz target per tests/fuzz/NAME/fuzz_*.c.
# NAME_DEPS: folders it uses; NAME_PKGS: pkg-config names; NAME_TEST_SRCS: helpers linked into its tests.
define module
$(1)_OBJS  := $$(patsubst %.c,$(B)/%.o,$$(addprefix $(1)/,$$($(1)_SRCS)))
$(1)_MAINS := $$(foreach p,$$($(1)_PROGS),$(B)/$(1)/$$(subst -,_,$$(p))_main.o)
$(1)_TESTS := $$(patsubst tests/unit/%.c,$(B)/tests/unit/%,$$(wildcard tests/unit/$(1)/test_*.c))
$(1)_THELP := $$(patsubst %.c,$(B)/%.o,$$($(1)_TEST_SRCS))
$(1)_FUZZ  := $$(patsubst tests/fuzz/%.c,$(B)/tests/fuzz/%,$$(wildcard tests/fuzz/$(1)/fuzz_*.c))
$(1)_ALLOBJS := $$($(1)_OBJS) $$($(1)_MAINS) $$(addsuffix .o,$$($(1)_TESTS) $$($(1)_FUZZ)) $$($(1)_THELP)
$$($(1)_ALLOBJS): CFLAGS_PKG = $$(if $$(call pkgs,$(1)),$$(patsubst -I%,-isystem %,$$(shell pkg-config --cflags $$(call pkgs,$(1)))))
$(B)/lib$(1).a: $$($(1)_OBJS)
	@echo "  AR      $$@"
	$(Q)mkdir -p $$(@D) && rm -f $$@ && $$(AR) rcs $$@ $$^
$$(addprefix $(B)/bin/,$$($(1)_PROGS)): $(B)/bin/%: $$(call libs,$(1))
	@mkdir -p $$(@D); echo "  LINK    $$@"
	$(Q)$$(CC) $$(LDFLAGS_ALL) $$($(1)_LDFLAGS) -o $$@ $(B)/$(1)/$$(subst -,_,$$*)_main.o -Wl,--start-group $$(call libs,$(1)) -Wl,--end-group $$(call ldlibs,$(1))
$$(foreach p,$$($(1)_PROGS),$$(eval $(B)/bin/$$(p): $(B)/$(1)/$$(subst -,_,$$(p))_main.o))
$$($(1)_TESTS): %: %.o $$($(1)_THELP) $$(call libs,$(1))
	@echo "  LINK    $$@"
	$(Q)$$(CC) $$(LDFLAGS_ALL) -o $$@ $$< $$($(1)_THELP) -Wl,--start-group $$(call libs,$(1)) -Wl,--end-group -lcmocka $$(call ldlibs,$(1))
$$($(1)_FUZZ): %: %.o $$($(1)_THELP) $$(call libs,$(1))
	@echo "  LINK    $$@"
	$(Q)$$(CC) $$(LDFLAGS_ALL) -fsanitize=fuzzer -o $$@ $$< $$($(1)_THELP) -Wl,--start-group $$(call libs,$(1)) -Wl,--end-group -lcmocka $$(call ldlibs,$(1))
LIBS  += $$(if $$($(1)_SRCS),$(B)/lib$(1).a)
OBJS  += $$($(1)_OBJS) $$($(1)_MAINS) $$(addsuffix .o,$$($(1)_TESTS)) $$($(1)_THELP)
TESTS += $$($(1)_TESTS)
PROGS += $$(addprefix $(B)/bin/,$$($(1)_PROGS))
FUZZERS += $$($(1)_FUZZ)
.PHONY: lib-$(1) check-$(1) fuzzers-$(1)
lib-$(1): $$(if $$($(1)_SRCS),$(B)/lib$(1).a) $$(addprefix $(B)/bin/,$$($(1)_PROGS))
check-$(1): $$($(1)_TESTS)
	$(Q)tests/run-unit $$($(1)_TESTS)
fuzzers-$(1): $$($(1)_FUZZ)
endef
$(foreach m,$(MODULES),$(eval $(call module,$(m))))

.PHONY: all objects check fuzzers format format-check tidy headers-check compile_commands.json clean
all: $(PROGS)
$(B)/%.o: %.c Makefile
	@mkdir -p $(@D); echo "  CC      $@"
	$(Q)$(CC) $(CFLAGS_ALL) $(CFLAGS_PKG) -MMD -MP $(if $(MJ),-MJ $@.json) -c -o $@ $<
objects: $(OBJS)
check: $(TESTS)
	$(Q)tests/run-unit $(TESTS)
fuzzers: $(FUZZERS)

SOURCES := $(shell git ls-files '*.c' '*.h' 2>/dev/null || find . -name '*.[ch]')
HEADERS := $(filter %.h,$(SOURCES))
ALLPKGS  = $(sort $(foreach m,$(MODULES),$($(m)_PKGS)))
ALLINC   = $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(ALLPKGS)))
format: ; $(Q)clang-format -i $(SOURCES)
format-check: ; $(Q)clang-format --dry-run --Werror $(SOURCES)
headers-check: ; $(Q)for h in $(HEADERS); do echo "#include \"$$h\"" | $(CC) -std=gnu11 -D_GNU_SOURCE -I. $(ALLINC) -fsyntax-only -x c - || exit 1; done
# clang writes a fragment an object (-MJ); a build of its own, so that every object is compiled once for it.
compile_commands.json:
	$(Q)$(MAKE) --no-print-directory O=$(O)/tidy CC=clang MJ=1 objects
	$(Q)(echo '['; find $(O)/tidy -name '*.o.json' -print0 | sort -z | xargs -0 cat | sed '$$s/,$$//'; echo ']') > $@
tidy: compile_commands.json
	$(Q)printf '%s\n' $(filter %.c,$(SOURCES)) | grep -v '^tests/fuzz/' | xargs -P2 -n4 clang-tidy --quiet -p .
clean: ; rm -rf $(O) compile_commands.json
.SECONDARY:
-include $(OBJS:.o=.d)
include testbed/targets.mk
include cli/install.mk
