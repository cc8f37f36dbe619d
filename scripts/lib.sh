# SPDX-License-Identifier: GPL-3.0-or-later
# What all entry scripts share; sourced, with $0 still the script's own name.
# shellcheck shell=bash

set -euo pipefail
shopt -s inherit_errexit
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ME=$(basename "$0")

say() { printf '%s: %s\n' "$ME" "$*" >&2; }
die() { say "$*"; exit 1; }

# run_logged LOG WHAT COMMAND...: one progress line, the command's output in
# LOG, and the end of LOG when the command fails.
run_logged() {
	local log=$1 what=$2 started=$SECONDS status=0
	shift 2
	say "$what ..."
	# not as a condition: that would switch errexit off inside the command
	set +e
	(set -e; "$@") >>"$log" 2>&1 </dev/null
	status=$?
	set -e
	if [ $status -ne 0 ]; then
		say "failed: $what"
		tail -n 25 "$log" >&2
		die "the whole log is $log"
	fi
	[ $((SECONDS - started)) -lt 5 ] || say "$what took $((SECONDS - started)) s"
}

# TMPDIR becomes a directory of this run alone. It goes at the end, also on
# Ctrl-C, and with it each instance of dev-samba that still runs below it. Its
# name is short (sockets lie below it) and it is open to the users of SMB.
use_private_tmp() {
	TMPDIR=$(mktemp -d /tmp/sp.XXXXXX)
	export TMPDIR
	chmod 0755 "$TMPDIR"
	trap remove_private_tmp EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

remove_private_tmp() {
	local settings
	find "$TMPDIR" -maxdepth 2 -name settings | while read -r settings; do
		"$TOP/scripts/dev-samba" down --dir "$(dirname "$settings")" || true
	done
	rm -rf --one-file-system "$TMPDIR"
}
