# SPDX-License-Identifier: BSD-3-Clause
# make install [PREFIX=/usr/local] [DESTDIR=...], make uninstall. Included by the root Makefile.
PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR    ?=
SBINDIR    := $(PREFIX)/sbin
UNITDIR    := $(PREFIX)/lib/systemd/system
COMPDIR    := $(PREFIX)/share/bash-completion/completions

INSTALL_SBIN := $(filter %/vmwp %/netvspd,$(PROGS))
# What tests run in guests is not for users.
INSTALL_BIN  := $(filter-out $(INSTALL_SBIN) $(addprefix %/,$(tests/tools_PROGS) $(tests/kvm_PROGS) $(tests/fake_vmwp_PROGS) $(tests/interop_PROGS)),$(PROGS))
INSTALL_MAN  := $(wildcard $(addsuffix /*.1,$(MODULES)) $(addsuffix /*.8,$(MODULES)))
INSTALL_UNIT := $(wildcard dist/systemd/*.service)
INSTALL_COMP := $(wildcard $(addsuffix /*.bash-completion,$(MODULES)))
# Every file that install writes; uninstall removes these and nothing else.
INSTALLED := $(addprefix $(PREFIX)/bin/,$(notdir $(INSTALL_BIN))) $(addprefix $(SBINDIR)/,$(notdir $(INSTALL_SBIN))) \
	$(foreach m,$(INSTALL_MAN),$(PREFIX)/share/man/man$(patsubst .%,%,$(suffix $(m)))/$(notdir $(m))) \
	$(addprefix $(UNITDIR)/,$(notdir $(INSTALL_UNIT))) $(addprefix $(COMPDIR)/,$(basename $(notdir $(INSTALL_COMP))))

.PHONY: install uninstall
install: all
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin share/man/man1 share/man/man8) $(addprefix $(DESTDIR),$(SBINDIR) $(UNITDIR) $(COMPDIR))
	install -m 755 $(INSTALL_BIN) $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(INSTALL_SBIN) $(DESTDIR)$(SBINDIR)
	for m in $(INSTALL_MAN); do install -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/ || exit 1; done
	for c in $(INSTALL_COMP); do f=$${c##*/}; install -m 644 $$c $(DESTDIR)$(COMPDIR)/$${f%.bash-completion} || exit 1; done
	for u in $(INSTALL_UNIT); do sed -e 's|@SBINDIR@|$(SBINDIR)|g' -e 's|@BINDIR@|$(PREFIX)/bin|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' $$u \
		>$(DESTDIR)$(UNITDIR)/$${u##*/} && chmod 644 $(DESTDIR)$(UNITDIR)/$${u##*/} || exit 1; done
uninstall:
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
