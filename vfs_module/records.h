/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * smbd's own records of an open: its share-mode entry (locking.tdb), its
 * byte-range locks (brlock.tdb) and its smbXsrv_open record. Stock's
 * functions handle a disconnected open only if it is the only one of its
 * file; these handle each of many.
 *
 * In 4.17 a disconnected entry has the disconnected server id, and the open's
 * persistent id as its share_file_id. The scavenger process takes it for
 * expired at the deadline of its *first* disconnect, even if the client was
 * back in between. So from the second disconnect on the number of disconnects
 * stands in the upper half of the share_file_id: the scavenger then leaves
 * the entry alone.
 */
#ifndef PERSISTENT_RECORDS_H
#define PERSISTENT_RECORDS_H

#include "cookie.h"

/*
 * A database of smbd's in its lock directory. smbd has it open under this very
 * name already, and the two share it; so it stays open, too.
 */
struct db_context *records_open_db(const char *name, int hash_size,
				   int tdb_flags, mode_t mode,
				   enum dbwrap_lock_order lock_order);

/* The share_file_id of an open that was disconnected so many times. */
uint64_t records_share_file_id(uint64_t persistent_id, uint32_t disconnects);

/*
 * The share_file_id of an open while it is resumed. smbd's own are small
 * numbers; by this one any smbd child can tell whose the entry is.
 */
uint64_t records_resumed_file_id(uint64_t persistent_id);

/* Whether a living smbd child has resumed the open, and which. */
bool records_find_holder(struct share_mode_lock *lck, uint64_t persistent_id,
			 struct server_id *holder);

/* False if there is no such entry (any more). */
bool records_find_entry(struct share_mode_lock *lck, struct server_id pid,
			uint64_t share_file_id, struct share_mode_entry *e);

/*
 * As above, for the one disconnected entry of an open, also if it has the
 * share_file_id that stock gives it.
 */
bool records_find_disconnected(struct share_mode_lock *lck,
			       uint64_t persistent_id, uint32_t disconnects,
			       struct share_mode_entry *e);

/*
 * The persistent ids of a file's disconnected opens, talloc'ed. False if its
 * record could not be read.
 */
bool records_disconnected_ids(TALLOC_CTX *mem_ctx,
			      struct share_mode_lock *lck, uint32_t **ids);

/* A disconnected open with a lease, as smbd's records have it. */
struct records_away {
	struct share_mode_entry entry;
	uint32_t lease_state;
};

/* All of a file, a talloc array; NULL if there are none. */
struct records_away *records_away_leases(TALLOC_CTX *mem_ctx,
					 struct share_mode_lock *lck,
					 const struct file_id *id);

/*
 * Puts such an entry back if smbd has deleted it. False if another open has
 * taken its place meanwhile.
 */
bool records_restore_away(struct share_mode_lock *lck,
			  const struct file_id *id,
			  const struct records_away *away);

/* Whether the living opens of a file leave room for one like e. */
bool records_has_room(struct share_mode_lock *lck, const struct file_id *id,
		      const struct share_mode_entry *e);

/* Whether the share modes of two opens forbid one of them (MS-FSA 2.1.5.1.2). */
bool records_share_conflict(const struct share_mode_entry *e,
			    uint32_t access_mask, uint32_t share_access);

/*
 * Deletes entries and locks of the disconnected opens with a lease, but for
 * this client's. True if there were any.
 */
bool records_end_leases(struct share_mode_lock *lck, const struct file_id *id,
			const struct GUID *client);

/* Adds an entry that is like e, but for its owner. */
bool records_add_entry(struct share_mode_lock *lck,
		       const struct share_mode_entry *e, struct server_id pid,
		       uint64_t mid, uint64_t share_file_id);

/*
 * Gives an entry another owner. At each instant at least one of the two is in
 * the database, so that a crash in between loses nothing.
 */
bool records_move_entry(struct share_mode_lock *lck,
			const struct share_mode_entry *e,
			struct server_id pid, uint64_t mid,
			uint64_t share_file_id);

/*
 * Makes fsp's entry and locks those of a disconnected open, whatever of it
 * stock has done already. fsp is about to go.
 */
bool records_disconnect(struct share_mode_lock *lck,
			const struct files_struct *fsp,
			uint64_t persistent_id, uint32_t disconnects);

/*
 * Both find the file by stock's cookie of the open. The first gives the
 * disconnected entry the share_file_id that stock's reconnect looks for, the
 * second deletes entry and locks of a handle that has ended.
 */
void records_stock_form(const DATA_BLOB *stock_cookie, uint64_t persistent_id,
			uint32_t disconnects);
void records_forget(const DATA_BLOB *stock_cookie, uint64_t persistent_id,
		    uint32_t disconnects);

/* The server id under which a surrogate owns records (cookie.h). */
struct server_id records_surrogate(uint64_t pid);

/*
 * Whether the owner of an entry or record exists. Unlike smbd, which goes by
 * whether the listening smbd has cleaned up after it, this takes a process that
 * has ended for dead at once. False for the owner of disconnected opens.
 */
bool records_is_alive(const struct server_id *id);

/* What saved shall remember of the lease of an entry. */
void records_save_lease(const struct file_id *id,
			const struct share_mode_entry *e,
			struct persistent_surrogate *saved);

/*
 * Makes fsp's entry and locks those of a surrogate, whose life keeps them in
 * force (cookie.h). Without oplock or lease, since a break could reach nobody;
 * saved has what there was.
 */
bool records_protect(struct share_mode_lock *lck,
		     const struct files_struct *fsp, uint64_t persistent_id,
		     uint64_t surrogate_pid,
		     struct persistent_surrogate *saved);

/*
 * Finds the entry of an open that is away, disconnected or protected. Of a
 * protected one e has the oplock or lease that it had before.
 */
bool records_find_away(struct share_mode_lock *lck, uint64_t persistent_id,
		       const struct persistent_cookie *c,
		       struct share_mode_entry *e);

/*
 * A protected open gets its lease back, as state says (SMB2_LEASE_*). e is what
 * records_find_away() found.
 */
bool records_restore_lease(struct share_mode_lock *lck,
			   const struct files_struct *fsp,
			   const struct share_mode_entry *e,
			   const struct persistent_surrogate *saved,
			   uint32_t state);

/*
 * A disconnected open comes back without its oplock, or with a lease of state
 * NONE; a lease that a connected open of its client shares stays. e is what
 * records_find_away() found.
 */
bool records_lose_level(struct share_mode_lock *lck,
			const struct file_id *id, struct share_mode_entry *e);

/*
 * Stock's reconnect, when it fails late, leaves the open's entry and locks with
 * this smbd child although nobody has the file open. Deletes them.
 */
void records_forget_phantom(const DATA_BLOB *stock_cookie,
			    struct smbd_server_connection *sconn,
			    uint64_t persistent_id);

/* Whether anybody but e has the file open for more than its attributes. */
bool records_has_others(struct share_mode_lock *lck,
			const struct share_mode_entry *e);

/* smbd's summary of a file's opens takes an open in that was away. */
void records_note_open(struct share_mode_lock *lck,
		       const struct share_mode_entry *e, uint32_t lease_type);

/* Deletes entry and locks of an open that its own client has forgotten. */
void records_forget_orphan(struct share_mode_lock *lck,
			   const struct file_id *id, uint32_t persistent_id);

/* The owner of byte-range locks, as struct lock_struct has it. */
struct records_lock_owner {
	struct server_id pid;
	uint32_t tid;
	uint64_t fnum;
};

/* The owner of a disconnected open's locks. */
struct records_lock_owner records_no_owner(void);

/* The owner while fsp has them. */
struct records_lock_owner records_owner(const struct files_struct *fsp);

/*
 * Gives all byte-range locks of an open to another owner, whatever other
 * opens have on the file. Returns all locks of the file as they then are.
 */
bool records_move_locks(TALLOC_CTX *mem_ctx, const struct file_id *id,
			uint64_t persistent_id,
			const struct records_lock_owner *to,
			struct lock_struct **locks, size_t *num_locks);

/* Deletes them. */
bool records_delete_locks(const struct file_id *id, uint64_t persistent_id);

/*
 * How many byte-range locks an open has. (smbd's own count has also refused
 * attempts in it.)
 */
uint32_t records_count_locks(const struct file_id *id, uint64_t persistent_id);

/*
 * Whether a lock of an open that is away, disconnected or of a dead smbd child,
 * conflicts with plock.
 */
bool records_lock_away(const struct file_id *id,
			       const struct lock_struct *plock);

/* Adds locks to those of a file, without looking for conflicts. */
bool records_add_locks(const struct file_id *id, const struct lock_struct *add,
		       size_t num);

/* Whether an open has a lock of exactly this range. */
bool records_has_lock(const struct file_id *id, uint64_t persistent_id,
		      uint64_t start, uint64_t size);

/*
 * Names the present contents of smbd's databases: 16 bytes that are others
 * after smbd has wiped them, which it does when all of it is started anew.
 */
const uint8_t *records_epoch(void);

/*
 * Whether all handles of a share that are away are in these databases, apart
 * from those of smbd children that died since.
 */
bool records_are_complete(const char *share);
void records_set_complete(const char *share);

/* What smbd's record of an open says of its owner. */
enum records_open_owner {
	RECORDS_OPEN_MISSING,
	RECORDS_OPEN_DISCONNECTED,
	RECORDS_OPEN_DEAD,  /* a process that is gone */
	RECORDS_OPEN_ALIVE,
};

/* Reads it. *global is talloc'ed on mem_ctx; NULL if it is missing. */
enum records_open_owner records_open_read(TALLOC_CTX *mem_ctx,
					  uint32_t persistent_id,
					  struct smbXsrv_open_global0 **global);

/*
 * Whether a protected open of the file is in the hands of a process that is
 * gone. Reads all records of opens.
 */
bool records_promised_to_dead(const struct file_id *id);

/* Writes it, unless a living process owns it meanwhile. */
bool records_open_write(struct smbXsrv_open_global0 *global);

/*
 * Undoes what smb2srv_open_recreate() did for a reconnect that is refused:
 * the record is as it was before (disconnected, or held by holder), or gone
 * if !keep. Stock would write its copy back at the end of the connection,
 * over whatever became of the handle meanwhile.
 */
void records_give_back(struct smbXsrv_open *op, bool keep,
		       const struct server_id *holder);

#endif
