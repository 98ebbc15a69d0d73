#!/bin/sh
# Save a whole CVAT before its deployment is deleted. Prints the snapshot's name on the last line.
#
# Ends with 0 only when everything was saved and read back; with 3 when something is missing (said
# on stderr): look at it before you delete anything. See docs/backups.md and prepare.sh.
set -eu
. "$(dirname "$0")/prepare.sh"
exec "$lsl" backup snapshot --before-delete
