/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "guard.h"
#include "version.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

#define BUILD_ID_MAX 64

struct build_id {
	uintptr_t object; /* where the object we look for is loaded */
	char hex[2 * BUILD_ID_MAX + 1];
};

/* The NT_GNU_BUILD_ID among the notes of one segment (elf(5)). */
static void read_notes(const uint8_t *p, size_t size, struct build_id *id)
{
	while (size >= sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *n = (const ElfW(Nhdr) *)p;
		size_t name = (n->n_namesz + 3) & ~(size_t)3;
		size_t desc = (n->n_descsz + 3) & ~(size_t)3;
		const uint8_t *bytes = p + sizeof(*n) + name;
		size_t i = 0;

		if (sizeof(*n) + name + desc > size) {
			return;
		}
		if (n->n_type == NT_GNU_BUILD_ID && n->n_namesz == 4 &&
		    memcmp(p + sizeof(*n), "GNU", 4) == 0 &&
		    n->n_descsz <= BUILD_ID_MAX) {
			for (i = 0; i < n->n_descsz; i++) {
				snprintf(id->hex + 2 * i, 3, "%02x", bytes[i]);
			}
			return;
		}
		p += sizeof(*n) + name + desc;
		size -= sizeof(*n) + name + desc;
	}
}

static int visit_object(struct dl_phdr_info *info, size_t size, void *data)
{
	struct build_id *id = data;
	size_t i = 0;

	if (info->dlpi_addr != id->object) {
		return 0;
	}
	for (i = 0; i < info->dlpi_phnum && id->hex[0] == '\0'; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_NOTE) {
			read_notes((const uint8_t *)info->dlpi_addr +
					   ph->p_vaddr,
				   ph->p_memsz, id);
		}
	}
	return 1;
}

bool guard_this_samba(void)
{
	struct build_id id = { .object = 0 };
	Dl_info info = { 0 };

	/* the library that smbd's own functions live in */
	if (dladdr((const void *)smb_register_vfs, &info) != 0) {
		id.object = (uintptr_t)info.dli_fbase;
		dl_iterate_phdr(visit_object, &id);
	}
	if (strcmp(id.hex, PERSISTENT_SAMBA_BUILD_ID) == 0) {
		return true;
	}
	DBG_ERR("vfs_persistent was built for samba %s (build id %s), this "
		"smbd is another (build id %s): build the module anew "
		"(make, make install); shares with it do not start\n",
		PERSISTENT_SAMBA_PACKAGE, PERSISTENT_SAMBA_BUILD_ID,
		id.hex[0] != '\0' ? id.hex : "unknown");
	return false;
}
