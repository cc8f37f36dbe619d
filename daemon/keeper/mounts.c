// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sysmacros.h>

#include "mounts.h"

#define MOUNTINFO "/proc/self/mountinfo"

static struct source watched;
static void (*tell)(void *context);

/* Undo the octal escapes of mountinfo (\040 for a space), in place. */
static void unescape(char *text)
{
	char *to = text;

	while (*text != '\0') {
		unsigned int value = 0;

		if (sscanf(text, "\\%3o", &value) == 1) {
			*to++ = (char)value;
			text += 4;
		} else {
			*to++ = *text++;
		}
	}
	*to = '\0';
}

/* Take `line` apart in place; false if it is none. */
static bool parse(char *line, struct mount_line *mount)
{
	unsigned int major = 0;
	unsigned int minor = 0;
	char *save = NULL;
	char *tail = strstr(line, " - ");
	int field = 0;

	if (tail == NULL || sscanf(line, "%" SCNu64 " %*u %u:%u", &mount->id,
				   &major, &minor) != 3) {
		return false;
	}
	mount->dev = makedev(major, minor);
	*tail = '\0';
	mount->mount_point = strtok_r(line, " ", &save);
	for (field = 0; field < 4 && mount->mount_point != NULL; field++) {
		mount->mount_point = strtok_r(NULL, " ", &save);
	}
	mount->type = strtok_r(tail + 3, " \n", &save);
	mount->source = strtok_r(NULL, " \n", &save);
	if (mount->mount_point == NULL || mount->type == NULL ||
	    mount->source == NULL) {
		return false;
	}
	unescape(mount->mount_point);
	unescape(mount->source);
	return true;
}

bool mounts_open(struct mounts *mounts)
{
	*mounts = (struct mounts) { .file = fopen(MOUNTINFO, "re") };
	return mounts->file != NULL;
}

bool mounts_next(struct mounts *mounts, struct mount_line *mount)
{
	while (getline(&mounts->line, &mounts->size, mounts->file) != -1) {
		if (parse(mounts->line, mount)) {
			return true;
		}
	}
	return false;
}

void mounts_close(struct mounts *mounts)
{
	free(mounts->line);
	if (mounts->file != NULL) {
		(void)fclose(mounts->file);
	}
}

static void mounts_ready(struct source *source, uint32_t events)
{
	(void)events;
	tell(source->context);
}

/* An open mountinfo tells by POLLPRI that the mounts changed (proc(5)). */
int mounts_watch(struct loop *loop, void (*changed)(void *context),
		 void *context)
{
	tell = changed;
	watched.ready = mounts_ready;
	watched.context = context;
	watched.fd = open(MOUNTINFO, O_RDONLY | O_CLOEXEC);
	if (watched.fd == -1) {
		return -errno;
	}
	return loop_add(loop, &watched, EPOLLPRI);
}
