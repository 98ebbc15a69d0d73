#!/bin/sh
# Make what is due, every ten minutes, until the container is stopped. For machines without cron.
set -eu
. "$(dirname "$0")/prepare.sh"
while :; do
    # a backup that failed is tried again; what failed is on stderr, and in `lsl backup coverage`
    "$lsl" backup run || echo "lsl backup run ended with $?" >&2
    sleep "${LSL_BACKUP_EVERY_S:-600}" &
    wait $!
done
