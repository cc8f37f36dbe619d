/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the module knows of one open that asked for durability, from CREATE to
 * CLOSE or disconnect. It hangs on the fsp as a VFS extension and dies with it;
 * the table of handles is persistd's.
 */
#ifndef PERSISTENT_HANDLE_H
#define PERSISTENT_HANDLE_H

#include "cookie.h"
#include "wire.h"

struct descriptors_note;

enum handle_state {
	HANDLE_ASKED,     /* the CREATE asks for it, or has an AppInstanceId */
	HANDLE_GRANTED,   /* smbd grants it; not told to anybody yet */
	HANDLE_RESUMED,   /* the same, after a reconnect */
	HANDLE_ANNOUNCED, /* with the keeper and persistd */
	HANDLE_PARKED,    /* disconnected; the fsp is about to go */
};

struct persistent_handle {
	struct persistent_handle *prev, *next;
	struct files_struct *fsp;
	enum handle_state state;
	struct persistent_cookie cookie;
	uint32_t share_access;
	bool deposited;
	bool plain; /* persistd knows it though nobody keeps it */
	bool survives_host; /* the share wants it (durability.h) */
	bool process_only;  /* it was told, but that could not be had */
	const char *close_reason; /* NULL: the client closes it */

	/*
	 * The name by which the client knows the file, if somebody else gave
	 * it the other one while the client was away. NULL: it knows its name.
	 */
	char *known_as;
	char *renamed_to;

	/* of the CREATE in progress, for handle_announce() */
	uint32_t asked_timeout_ms; /* DH2Q; 0: the server may choose */
	struct smb2_create_blobs *out_context_blobs;

	/* of a reconnect in progress, for handle_announce() */
	struct GUID create_guid;
	struct smb_filename *true_name;
};

/* The handle of an fsp, or NULL. */
struct persistent_handle *handle_of(struct vfs_handle_struct *vfs,
				    const struct files_struct *fsp);

/* The one with this cookie in this smbd child, or NULL. */
struct persistent_handle *handle_find(const uint8_t *cookie);

/* Whether this smbd child has any. */
bool handles_exist(void);

/* Whether the keeper has its descriptor. */
bool handle_is_kept(const struct persistent_handle *h);

/* A new one, with a new cookie. NULL: out of memory. */
struct persistent_handle *handle_add(struct vfs_handle_struct *vfs,
				     struct files_struct *fsp,
				     uint8_t durable_version);

void handle_remove(struct vfs_handle_struct *vfs, struct files_struct *fsp);

/*
 * The cookie that stock would store now, whatever locks the handle has. An
 * error: the share's settings or the kind of file do not allow to keep it.
 */
NTSTATUS handle_stock_cookie(struct vfs_handle_struct *vfs,
			     struct files_struct *fsp, TALLOC_CTX *mem_ctx,
			     DATA_BLOB *cookie);

/*
 * Stock's cookie shall have the name that the client will ask for, which smbd
 * compares (MS-SMB2 3.3.5.9.7 and 3.3.5.9.12).
 */
void handle_put_known_name(const struct persistent_handle *h,
			   TALLOC_CTX *mem_ctx, DATA_BLOB *stock);

/*
 * A promise is about to be made for this handle: true if the keeper has the
 * descriptor and persistd the record, for certain.
 */
bool handle_secure(struct persistent_handle *h);

/* Waits for both to say that it is so of one that was given to them; 200 ms. */
bool handle_is_secure(const struct persistent_handle *h);

/*
 * The last step of a CREATE, before it is answered: gives the descriptor into
 * keeping, settles the timeout, tells persistd.
 */
void handle_announce(struct persistent_handle *h);

/*
 * The same for an open that ends with its connection: persistd knows it if
 * another node of a cluster may take it over (app_instance.h).
 */
void handle_announce_plain(struct persistent_handle *h);

/*
 * The name by which its client knows the file; NULL: by its own. Has the client,
 * or another through smbd, renamed it since, it knows.
 */
const char *handle_known_name(const struct persistent_handle *h);

/* The handle record of docs/protocol.md 1.2. False: it cannot be made. */
bool handle_pack_record(struct persistent_handle *h, msgpack_sbuffer *out);

/* persistd shall know the handle as it is now. */
void handle_tell_again(struct persistent_handle *h);

/* The same, and the keeper, too. */
void handle_changed(struct persistent_handle *h);

/* The client or an administrator closed it: nobody keeps anything. */
void handle_closed(struct persistent_handle *h, const char *reason);

/* A byte-range lock of the handle came or went; the keeper has that note. */
void handle_locked(struct persistent_handle *h, const struct lock_struct *l,
		   const struct descriptors_note *note);
void handle_unlocked(struct persistent_handle *h, const struct lock_struct *l,
		     const struct descriptors_note *note);

/* The absolute path of a file of this share, talloc'ed. */
char *handle_path(TALLOC_CTX *mem_ctx, const struct connection_struct *conn,
		  const char *base_name);

struct wire_stat handle_wire_stat(const struct stat *st);

/* After an outage: a grant for each handle, then the list of them all. */
void handles_resync(void);

/* There is a new keeper: give it what is open. */
void handles_redeposit(void);

/* The keeper has no room for this one. */
void handles_refused(const uint8_t *cookie, int status);

#endif
