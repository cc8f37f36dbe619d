/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PERSISTENT_VERSION_H
#define PERSISTENT_VERSION_H

#define PERSISTENT_VERSION "0.1.0"

/* The build system says which Samba this module is made for. */
#ifndef PERSISTENT_SAMBA_PACKAGE
#error "PERSISTENT_SAMBA_PACKAGE is not set: build with make"
#endif
#ifndef PERSISTENT_SAMBA_BUILD_ID
#error "PERSISTENT_SAMBA_BUILD_ID is not set: build with make"
#endif

#endif
