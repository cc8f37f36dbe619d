/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "handle.h"
#include "lost_connection.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

#define LOOK_EVERY_S 2

static struct tevent_timer *timer;

static void look(struct tevent_context *ev, struct tevent_timer *te,
		 struct timeval now, void *private_data)
{
	struct smbd_server_connection *sconn = private_data;
	struct smbXsrv_connection *xconn = sconn->client->connections;

	timer = NULL;
	while (xconn != NULL && (NT_STATUS_IS_OK(xconn->transport.status) ||
				 xconn->transport.terminating)) {
		xconn = xconn->next;
	}
	if (xconn != NULL) {
		/* of the last one it does not return; the next time comes */
		lost_connection_watch(sconn);
		smbd_server_connection_terminate(
			xconn, "it broke when a break was sent");
	} else if (handles_exist()) {
		lost_connection_watch(sconn);
	}
}

void lost_connection_watch(struct smbd_server_connection *sconn)
{
	if (timer == NULL) {
		timer = tevent_add_timer(sconn->ev_ctx, sconn,
					 timeval_current_ofs(LOOK_EVERY_S, 0),
					 look, sconn);
	}
}
