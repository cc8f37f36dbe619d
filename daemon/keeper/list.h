// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Circular doubly linked lists. A link that is on no list points to itself,
 * so taking it off is always allowed and needs no list head.
 */
#ifndef KEEPER_LIST_H
#define KEEPER_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
	struct link *prev;
	struct link *next;
};

#define link_owner(link, type, member) \
	((type *)(void *)((char *)(link) - offsetof(type, member)))

static inline void link_init(struct link *link)
{
	link->prev = link;
	link->next = link;
}

static inline bool link_alone(const struct link *link)
{
	return link->next == link;
}

static inline void link_remove(struct link *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	link_init(link);
}

/* Put `link`, which is on no list, behind the last one of `list`. */
static inline void link_append(struct link *list, struct link *link)
{
	link->prev = list->prev;
	link->next = list;
	list->prev->next = link;
	list->prev = link;
}

#endif
