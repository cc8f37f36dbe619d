# SPDX-License-Identifier: GPL-3.0-or-later
# Everything is built under build/. `make help` lists the targets.

CFLAGS ?= -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2
LDFLAGS ?= -Wl,-z,relro,-z,now
WARNINGS = -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes \
	-Wshadow -Wwrite-strings
DEPENDENCIES = -MMD -MP

PREFIX ?= /usr
LIBEXECDIR = $(PREFIX)/libexec/samba-persistent
APPDIR = $(PREFIX)/lib/samba-persistent
SMBD ?= /usr/sbin/smbd
# smbd knows where it looks for modules; asked only when it is needed
VFSDIR ?= $(shell $(SMBD) -b | sed -n 's/^ *MODULESDIR: *//p')/vfs

# the C library of msgpack changed its name in Debian 13
MSGPACK_LIBS = $(shell pkg-config --libs msgpack-c 2>/dev/null || pkg-config --libs msgpack)

FAULT_SOURCE = vfs_module/fault.c
MODULE_SOURCES = $(filter-out $(FAULT_SOURCE),$(wildcard vfs_module/*.c))
MODULE_OBJECTS = $(MODULE_SOURCES:vfs_module/%.c=build/vfs_module/%.o)
EXPORTS = vfs_module/persistent.map
KEEPER_SOURCES = $(wildcard daemon/keeper/*.c)
KEEPER_OBJECTS = $(KEEPER_SOURCES:daemon/keeper/%.c=build/keeper/%.o)
TEST_MODULE_OBJECTS = $(patsubst vfs_module/%.c,build/test-build/vfs_module/%.o,$(MODULE_SOURCES) $(FAULT_SOURCE))
TEST_KEEPER_OBJECTS = $(KEEPER_SOURCES:daemon/keeper/%.c=build/test-build/keeper/%.o) build/test-build/keeper/fault.o
TEST_TOOLS = $(patsubst test/tools/%.c,build/test-tools/%,$(wildcard test/tools/*.c))
PRELOADED = $(patsubst test/tools/preload/%.c,build/test-tools/%.so,$(wildcard test/tools/preload/*.c))
TYPESCRIPT = $(shell find daemon test -name '*.ts' 2>/dev/null)

.PHONY: all module keeper daemon test-tools test-build install uninstall clean distclean \
	demo test bench soak faults help
.DELETE_ON_ERROR:

all: module keeper daemon build/dev-samba-modules.so

module: build/persistent.so
keeper: build/fdkeeper
daemon: build/daemon.stamp
test-tools: $(TEST_TOOLS) $(PRELOADED) test-build
test-build: build/test-build/persistent.so build/test-build/fdkeeper build/test-build/fault-points

# Samba's symbols stay unresolved: the smbd that loads the module has them. Only
# the module's entry point is exported, so that no name of ours meets one of smbd.
build/persistent.so: $(MODULE_OBJECTS) $(EXPORTS)
	$(CC) -shared $(CFLAGS) $(LDFLAGS) \
		-Wl,--version-script=$(EXPORTS) -o $@ $(MODULE_OBJECTS) -lzmq $(MSGPACK_LIBS)

build/vfs_module/%.o: vfs_module/%.c build/samba.flags
	@mkdir -p $(@D)
	$(CC) -c $(CFLAGS) @build/samba.flags $(WARNINGS) \
		-Wno-unused-parameter $(DEPENDENCIES) -o $@ $<

# An upgrade of Samba makes its smbd newer than this file, and so all is built
# anew against the new headers.
build/samba.flags: scripts/samba-headers $(wildcard $(SMBD))
	@mkdir -p $(@D)
	SMBD=$(SMBD) scripts/samba-headers --cflags > $@

build/fdkeeper: $(KEEPER_OBJECTS)
	$(CC) $(CFLAGS) -pie -pthread $(LDFLAGS) -o $@ $^

build/keeper/%.o: daemon/keeper/%.c
	@mkdir -p $(@D)
	$(CC) -c $(CFLAGS) -fPIE -pthread -D_GNU_SOURCE $(WARNINGS) $(DEPENDENCIES) -o $@ $<

# Module and keeper with points at which a test can hold or kill them
# (vfs_module/fault.h), and the names of all these points.
build/test-build/persistent.so: $(TEST_MODULE_OBJECTS) $(EXPORTS)
	$(CC) -shared $(CFLAGS) $(LDFLAGS) \
		-Wl,--version-script=$(EXPORTS) -o $@ $(TEST_MODULE_OBJECTS) -lzmq $(MSGPACK_LIBS)

build/test-build/vfs_module/%.o: vfs_module/%.c build/samba.flags
	@mkdir -p $(@D)
	$(CC) -c $(CFLAGS) @build/samba.flags -DPERSISTENT_FAULTS $(WARNINGS) \
		-Wno-unused-parameter $(DEPENDENCIES) -o $@ $<

build/test-build/fdkeeper: $(TEST_KEEPER_OBJECTS)
	$(CC) $(CFLAGS) -pie -pthread $(LDFLAGS) -o $@ $^

build/test-build/keeper/%.o: daemon/keeper/%.c
	@mkdir -p $(@D)
	$(CC) -c $(CFLAGS) -fPIE -pthread -D_GNU_SOURCE -DPERSISTENT_FAULTS $(WARNINGS) $(DEPENDENCIES) -o $@ $<

build/test-build/keeper/fault.o: $(FAULT_SOURCE)
	@mkdir -p $(@D)
	$(CC) -c $(CFLAGS) -fPIE -D_GNU_SOURCE -DPERSISTENT_FAULTS $(WARNINGS) $(DEPENDENCIES) -o $@ $<

build/test-build/fault-points: $(MODULE_SOURCES) $(KEEPER_SOURCES)
	@mkdir -p $(@D)
	grep -oh 'fault_point("[^"]*")' $^ | cut -d'"' -f2 | sort > $@

build/dev-samba-modules.so: scripts/dev-samba-modules.c
	@mkdir -p $(@D)
	$(CC) -shared -fPIC $(CFLAGS) -D_GNU_SOURCE $(WARNINGS) $(LDFLAGS) -o $@ $<

build/test-tools/%: test/tools/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -D_GNU_SOURCE $(WARNINGS) $(DEPENDENCIES) $(LDFLAGS) -o $@ $<

build/test-tools/%.so: test/tools/preload/%.c
	@mkdir -p $(@D)
	$(CC) -shared -fPIC $(CFLAGS) -D_GNU_SOURCE $(WARNINGS) $(LDFLAGS) -o $@ $<

# The module's messages without Samba, watched by the sanitizers.
build/test-tools/golden_wire: test/tools/golden_wire.c vfs_module/wire.c vfs_module/wire_imports.c \
		vfs_module/wire.h vfs_module/wire_imports.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -U_FORTIFY_SOURCE -fsanitize=address,undefined -fno-sanitize-recover=all \
		-D_GNU_SOURCE $(WARNINGS) $(LDFLAGS) -o $@ $(filter %.c,$^) $(MSGPACK_LIBS)

build/daemon.stamp: package.json tsconfig.json node_modules/.package-lock.json $(TYPESCRIPT)
	@mkdir -p $(@D)
	npm run --silent build
	@touch $@

# npm writes this file at the end of each installation. No package needs its
# install script: the binaries are in the packages.
node_modules/.package-lock.json: package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

-include $(MODULE_OBJECTS:.o=.d) $(KEEPER_OBJECTS:.o=.d) $(TEST_TOOLS:=.d) \
	$(TEST_MODULE_OBJECTS:.o=.d) $(TEST_KEEPER_OBJECTS:.o=.d)

# The daemon goes with the packages that it needs at run time, taken from the
# lock file into a directory of their own, and without the compiled tests.
install: all
	install -d $(DESTDIR)$(VFSDIR) $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(APPDIR) \
		$(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin
	install -m 0644 build/persistent.so $(DESTDIR)$(VFSDIR)/persistent.so
	install -m 0755 build/fdkeeper $(DESTDIR)$(LIBEXECDIR)/fdkeeper
	install -m 0644 package.json package-lock.json $(DESTDIR)$(APPDIR)
	cd $(DESTDIR)$(APPDIR) && npm ci --omit=dev --ignore-scripts --no-audit --no-fund
	rm -rf $(DESTDIR)$(APPDIR)/daemon
	cp -R build/daemon $(DESTDIR)$(APPDIR)/daemon
	printf '#!/bin/sh\nexec node %s "$$@"\n' $(APPDIR)/daemon/src/main.js > $(DESTDIR)$(PREFIX)/sbin/persistd
	printf '#!/bin/sh\nexec node %s "$$@"\n' $(APPDIR)/daemon/cli/main.js > $(DESTDIR)$(PREFIX)/bin/persistctl
	chmod 0755 $(DESTDIR)$(PREFIX)/sbin/persistd $(DESTDIR)$(PREFIX)/bin/persistctl

uninstall:
	rm -f $(DESTDIR)$(VFSDIR)/persistent.so $(DESTDIR)$(PREFIX)/sbin/persistd \
		$(DESTDIR)$(PREFIX)/bin/persistctl
	rm -rf $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(APPDIR)

# Samba's headers are in ~/.cache/samba-persistent and stay there.
clean:
	rm -rf build

distclean: clean
	rm -rf node_modules

demo test bench soak faults:
	scripts/$@

help:
	@echo 'make              the module, the keeper and the daemon'
	@echo 'make module       build/persistent.so, for the Samba that is installed'
	@echo 'make keeper       build/fdkeeper'
	@echo 'make daemon       persistd and persistctl'
	@echo 'make test-tools   the helper programs of the tests'
	@echo 'make test-build   module and keeper with points to hold and kill them at'
	@echo 'make install      install them (DESTDIR, PREFIX, VFSDIR)'
	@echo 'make uninstall    take them away again'
	@echo 'make demo|test|bench|soak|faults   the same as scripts/demo|test|bench|soak|faults'
	@echo 'make clean        remove build/; make distclean: node_modules/ too'
