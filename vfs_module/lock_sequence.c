/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "fault.h"
#include "handle.h"
#include "lock_sequence.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

/*
 * Layout, little endian: version u8, index of the last entry u8, unlock u8,
 * zero u8, start u64, size u64; then the array.
 */
#define NOTE_VERSION 1
#define NOTE_HEADER_SIZE 20
#define NOTE_SIZE (NOTE_HEADER_SIZE + RECORDS_LOCK_SEQUENCES)

/* MS-SMB2 2.2.26: the fixed part holds the first lock, the rest follows. */
#define LOCK_ELEMENT_SIZE 0x18
#define LOCK_FIRST_ELEMENT 0x18

static bool is_lock_request(const struct smbd_smb2_request *req,
			    const struct files_struct *fsp)
{
	return req->compat_chain_fsp == fsp &&
	       SVAL(SMBD_SMB2_IN_HDR_PTR(req), SMB2_HDR_OPCODE) ==
		       SMB2_OP_LOCK;
}

static bool is_last_lock(const struct smbd_smb2_request *req,
			 const struct lock_struct *l, bool unlock)
{
	const uint8_t *body = SMBD_SMB2_IN_BODY_PTR(req);
	uint16_t count = SVAL(body, 0x02);
	const uint8_t *element = body + LOCK_FIRST_ELEMENT;
	bool is_unlock = (IVAL(element, 0x10) & SMB2_LOCK_FLAG_UNLOCK) != 0;

	if (count > 1) {
		element = SMBD_SMB2_IN_DYN_PTR(req) +
			  (count - 2) * LOCK_ELEMENT_SIZE;
	}
	/* a request that fails takes its locks back one by one */
	return is_unlock == unlock && BVAL(element, 0x00) == l->start &&
	       BVAL(element, 0x08) == l->size;
}

/* The request that is being done; smbd hands it to no hook. */
static const struct smbd_smb2_request *request_of(
	const struct files_struct *fsp, const struct lock_struct *l,
	bool unlock)
{
	struct smbXsrv_client *client = fsp->conn->sconn->client;
	struct smbXsrv_connection *xconn = NULL;
	struct smbd_smb2_request *req = NULL;

	for (xconn = client->connections; xconn != NULL; xconn = xconn->next) {
		for (req = xconn->smb2.requests; req != NULL;
		     req = req->next) {
			if (is_lock_request(req, fsp) &&
			    is_last_lock(req, l, unlock)) {
				return req;
			}
		}
	}
	return NULL;
}

struct descriptors_note lock_sequence_note(const struct persistent_handle *h,
					   const struct lock_struct *l,
					   bool unlock)
{
	const struct smbXsrv_open_global0 *global = h->fsp->op->global;
	const struct smbd_smb2_request *req = NULL;
	struct descriptors_note note = { .length = 0 };
	uint32_t sequence = 0;
	uint32_t bucket = 0;

	if (!h->deposited || !global->durable) {
		return note;
	}
	req = request_of(h->fsp, l, unlock);
	if (req == NULL) {
		return note;
	}
	sequence = IVAL(SMBD_SMB2_IN_BODY_PTR(req), 0x04);
	bucket = sequence >> 4;
	if (bucket == 0 || bucket > RECORDS_LOCK_SEQUENCES) {
		return note;
	}
	note.length = NOTE_SIZE;
	SCVAL(note.data, 0, NOTE_VERSION);
	SCVAL(note.data, 1, bucket - 1);
	SCVAL(note.data, 2, unlock);
	SBVAL(note.data, 4, l->start);
	SBVAL(note.data, 12, l->size);
	memcpy(note.data + NOTE_HEADER_SIZE, global->lock_sequence_array,
	       RECORDS_LOCK_SEQUENCES);
	note.data[NOTE_HEADER_SIZE + bucket - 1] = sequence & 0xF;
	fault_point("note.before-send");
	(void)descriptors_note(h->cookie.cookie, &note);
	fault_point("note.after-send");
	return note;
}

struct records_lock_sequence lock_sequence_read(
	const struct descriptors_note *note)
{
	struct records_lock_sequence s = { .known = false };

	if (note->length != NOTE_SIZE || CVAL(note->data, 0) != NOTE_VERSION) {
		return s;
	}
	s.known = true;
	s.last = CVAL(note->data, 1);
	s.unlock = CVAL(note->data, 2) != 0;
	s.start = BVAL(note->data, 4);
	s.size = BVAL(note->data, 12);
	memcpy(s.array, note->data + NOTE_HEADER_SIZE,
	       RECORDS_LOCK_SEQUENCES);
	return s;
}
