/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "contend.h"
#include "options.h"
#include "persistd.h"
#include "unsafe.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

#define UNSAFE_SETTLE_MS 100

/* Since persistd was there last: how many, and the last of them. */
static struct unsafe_opens {
	uint64_t allowed;
	uint64_t refused;
	uint64_t dev;
	uint64_t ino;
	char client_address[64];
} unsafe;

static const struct option_words words = {
	.one = "allow",
	.other = "refuse",
};

bool unsafe_may_open(const struct connection_struct *conn,
		     const struct smb_filename *smb_fname)
{
	TALLOC_CTX *frame = talloc_stackframe();
	const char *address = contend_client_address(frame, conn);
	bool refused = option_word(conn, "unsafe", &words) == words.other;

	unsafe.allowed += !refused;
	unsafe.refused += refused;
	unsafe.dev = smb_fname->st.st_ex_dev;
	unsafe.ino = smb_fname->st.st_ex_ino;
	(void)strlcpy(unsafe.client_address, address,
		      sizeof(unsafe.client_address));
	DBG_ERR("%s in %s may belong to a handle whose client is away, and "
		"persistd or fdkeeper does not answer: the open by %s is %s "
		"(persistent:unsafe)\n", smb_fname_str_dbg(smb_fname),
		conn->connectpath, address, refused ? "refused" : "allowed");
	TALLOC_FREE(frame);
	return !refused;
}

/* MS-SMB2 3.3.5.9: what a client of SMB 3 knows to try again. */
NTSTATUS unsafe_refusal(const struct connection_struct *conn)
{
	return conn->sconn->client->connections->protocol >= PROTOCOL_SMB3_00 ?
		       NT_STATUS_FILE_NOT_AVAILABLE :
		       NT_STATUS_SHARING_VIOLATION;
}

void unsafe_tell(void)
{
	msgpack_sbuffer event = { 0 };

	if (unsafe.allowed + unsafe.refused == 0) {
		return;
	}
	msgpack_sbuffer_init(&event);
	wire_event_unsafe(&event, unsafe.dev, unsafe.ino,
			  unsafe.client_address, unsafe.allowed,
			  unsafe.refused);
	link_queue(NULL, &event);
	if (link_settle(UNSAFE_SETTLE_MS)) {
		unsafe = (struct unsafe_opens) { .allowed = 0 };
	}
}
