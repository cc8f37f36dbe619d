// SPDX-License-Identifier: GPL-3.0-or-later
#ifndef KEEPER_LOG_H
#define KEEPER_LOG_H

/* In front of each line. */
#define LOG_PREFIX "fdkeeper: "

/*
 * One line on stderr. Lost rather than waited for when whoever reads stderr
 * is stuck: smbd children must not wait for a log.
 */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
