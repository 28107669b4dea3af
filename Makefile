# SPDX-License-Identifier: GPL-2.0-only
#
# Targets for people; "make help" lists them.  What kbuild must know of the
# module is in module/Kbuild.  KERNELRELEASE may come from the command line
# (dkms does that), so nothing here takes it as a sign of being inside kbuild.

KERNELRELEASE ?= $(shell uname -r)
KDIR	?= $(or $(KERNELDIR),/lib/modules/$(KERNELRELEASE)/build)
PREFIX	?= /usr/local
MANDIR	?= $(PREFIX)/share/man
DEPMOD	?= depmod
INSTALL	?= install
KERNELS	?= 5.10 6.1 6.12 7.2
KERNEL	?= 6.1
debug_kernels = $(if $(filter file,$(origin KERNELS)),6.1 6.12 7.2,$(KERNELS))

version	:= $(shell sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' dkms.conf)
kbuild	= +$(MAKE) -C $(KDIR) M=$(CURDIR)/module
dkmsdir	= $(DESTDIR)/usr/src/uremap-$(version)
# the folders that need no more than a C compiler
user	:= $(patsubst %/Makefile,%,$(wildcard lib/Makefile examples/Makefile))
man	:= $(wildcard man/*.[1-9]*)
# .2const belongs into man2: not every man looks into a folder of its own
mandest	= $(DESTDIR)$(MANDIR)/man$(patsubst %const,%,$(patsubst .%,%,$(suffix $(1))))/$(notdir $(1))

all: user modules ## user and modules

##@ Building
modules: headers-there ## the kernel module, module/uremap.ko
	$(kbuild) modules

user: $(user) ## the preload library and the examples, in build/

$(user):
	+$(MAKE) -C $@

tests: ## the test programs, in build/test
	+$(MAKE) -C test

headers-there:
	@test -e $(KDIR)/Makefile || { \
		echo "There are no kernel headers in $(KDIR)."; \
		echo "Install them (Debian: apt-get install linux-headers-$(KERNELRELEASE)),"; \
		echo "or name another kernel: make KERNELRELEASE=... or make KDIR=..."; \
		exit 1; } >&2

clean: ## removes what was built, keeps downloads
	$(RM) -r build
	find module \( -name '*.o' -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' \
		-o -name '.*.cmd' -o -name '.*.d' -o -name modules.order \
		-o -name Module.symvers \) -delete

distclean: clean ## and the downloaded kernels
	$(RM) -r "$${UREMAP_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/uremap}"

##@ Trying and testing, in QEMU on Debian's stock kernels
demo: ## boots KERNEL and compacts a heap by moving pages
	test/qemu/deps demo
	+$(MAKE) -C examples
	test/qemu/demo $(KERNEL)

check: ## all tests on all KERNELS, or TESTS="name..." of them
	test/qemu/deps check
	+$(MAKE) -s user tests
	test/qemu/check $(KERNELS)

check-debug: ## the same on debug builds of kernels with all checks on (6.1 6.12 7.2)
	test/qemu/deps check-debug
	+$(MAKE) -s user tests
	test/qemu/check $(debug_kernels:%=%-debug)

check-live: tests ## the tests here, where the module is loaded already
	prove -e '' $(patsubst test/%.c,build/test/%,$(filter-out test/util%,$(wildcard test/*.c)))

lint: ## style and consistency of sources, texts and scripts
	test/lint/run

bench: ## measures moves side by side with what a kernel has itself
	test/qemu/deps bench
	+$(MAKE) -C bench run

bench-host: ## the same in nanoseconds here, where the module is loaded already
	+$(MAKE) -C bench host

torture: ## random operations on all kinds of memory, checked by a model
	test/qemu/deps check
	+$(MAKE) -C test/torture run

mutants: ## breaks the module's rules one by one: does a test notice?
	test/qemu/deps check
	+$(MAKE) -s tests
	+$(MAKE) -s -C test/torture
	test/mutants/run $(MUTANTS)

fuzz: ## invented ioctls on the debug build of KERNEL, led by coverage
	test/qemu/deps check-debug
	+$(MAKE) -C test/fuzz run KERNEL=$(if $(filter file,$(origin KERNEL)),6.12,$(KERNEL))

##@ Installing
install: modules_install install-headers install-lib install-man ## all but install-udev

modules_install: headers-there ## the module, for KERNELRELEASE
	$(kbuild) INSTALL_MOD_DIR=updates $(if $(DESTDIR),INSTALL_MOD_PATH=$(DESTDIR)) \
		modules_install
	$(if $(DESTDIR)$(INSTALL_MOD_PATH),,$(DEPMOD) -a $(KERNELRELEASE))

install-headers: ## linux/uremap.h
	$(INSTALL) -D -m 644 include/uapi/linux/uremap.h \
		$(DESTDIR)$(PREFIX)/include/linux/uremap.h

install-lib: ## the preload library and uremap-run
	$(if $(wildcard lib/Makefile),+$(MAKE) -C lib install)

install-man: ## the manual pages
	$(foreach f,$(man),$(INSTALL) -D -m 644 $(f) $(call mandest,$(f)) &&) :

install-udev: ## the group that may use the device, and loading at boot
	$(INSTALL) -D -m 644 contrib/udev/60-uremap.rules \
		$(DESTDIR)/usr/lib/udev/rules.d/60-uremap.rules
	$(INSTALL) -D -m 644 contrib/sysusers.d/uremap.conf \
		$(DESTDIR)/usr/lib/sysusers.d/uremap.conf
	$(INSTALL) -D -m 644 contrib/modules-load.d/uremap.conf \
		$(DESTDIR)/usr/lib/modules-load.d/uremap.conf

uninstall: ## what install and install-udev put there
	$(RM) $(DESTDIR)$(INSTALL_MOD_PATH)/lib/modules/$(KERNELRELEASE)/updates/uremap.ko* \
		$(DESTDIR)$(PREFIX)/include/linux/uremap.h \
		$(DESTDIR)/usr/lib/udev/rules.d/60-uremap.rules \
		$(DESTDIR)/usr/lib/sysusers.d/uremap.conf \
		$(DESTDIR)/usr/lib/modules-load.d/uremap.conf
	$(RM) $(foreach f,$(man),$(call mandest,$(f)))
	$(if $(wildcard lib/Makefile),+$(MAKE) -C lib uninstall)
	$(if $(DESTDIR)$(INSTALL_MOD_PATH),,$(DEPMOD) -a $(KERNELRELEASE))

dkms-install: ## the source in /usr/src, built by dkms now and for each new kernel
	$(RM) -r $(dkmsdir)
	$(INSTALL) -d $(dkmsdir)
	cp -r Makefile dkms.conf COPYING LICENSES include $(dkmsdir)
	(find module -name '*.[ch]' ! -name '*.mod.c'; echo module/Kbuild) | \
		cpio -p -d --quiet $(dkmsdir)
	$(if $(DESTDIR),,dkms install uremap/$(version))

dkms-uninstall: ## and its source
	$(if $(DESTDIR),,dkms remove uremap/$(version) --all)
	$(RM) -r $(dkmsdir)

dist: ## build/uremap-VERSION.tar.gz of the commit
	@mkdir -p build
	git archive --prefix=uremap-$(version)/ -o build/uremap-$(version).tar.gz HEAD

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-zA-Z_-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'Variables (with their values now)'
	@echo '  KERNELRELEASE    kernel to build the module for ($(KERNELRELEASE))'
	@echo '  KDIR             its build folder; KERNELDIR means the same ($(KDIR))'
	@echo '  KERNELS          kernels to test on ($(KERNELS))'
	@echo '  KERNEL           kernel to boot for the demo ($(KERNEL)), for fuzz (6.12)'
	@echo '  TESTS            test programs to run ($(or $(TESTS),all))'
	@echo '  JOBS             kernels to boot at a time ($(or $(JOBS),2))'
	@echo '  SECONDS SEED     for torture, fuzz: how long, and which run to repeat'
	@echo '  MUTANTS          mutants to try ($(or $(MUTANTS),all))'
	@echo '  PREFIX DESTDIR   where to install ($(PREFIX), under "$(DESTDIR)")'
	@echo '  INSTALL_MOD_PATH likewise, the module alone'
	@echo '  UREMAP_CACHE     downloaded kernels ($(or $(UREMAP_CACHE),~/.cache/uremap))'
	@echo '  V=1 W=1 CC=...   as for the kernel'

export TESTS JOBS KERNELS
.PHONY: all modules user $(user) tests headers-there clean distclean demo check \
	check-debug check-live lint bench bench-host torture mutants fuzz \
	install modules_install install-headers install-lib install-man install-udev uninstall \
	dkms-install dkms-uninstall dist help
