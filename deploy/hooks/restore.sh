#!/bin/sh
# Fill a fresh CVAT from a snapshot: restore.sh [SNAPSHOT]; without a name, the newest whole server.
#
# Users must be there already, under their old names or mapped: LSL_USER_MAP="ana=anna ben=bob".
# Ends with 3 when something could not be put back, and says what. See docs/backups.md.
set -eu
. "$(dirname "$0")/prepare.sh"
snapshot=${1:-}
if [ -z "$snapshot" ]; then
    snapshot=$("$lsl" backup list --tier instance | sed -n '2s/ .*//p')
fi
[ -n "$snapshot" ] || { echo "There is no snapshot of a whole server in $LSL_BACKUPS." >&2; exit 20; }
set --
for pair in ${LSL_USER_MAP:-}; do
    set -- "$@" --user-map "$pair"
done
exec "$lsl" backup restore --snapshot "$snapshot" "$@"
