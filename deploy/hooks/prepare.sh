# Makes the workspace that the hooks work in, once. Read by the hooks beside it, not run itself.
#
# CVAT_URL              the server, for example http://cvat-server:8080
# CVAT_ACCESS_TOKEN     a personal access token (CVAT 2.48 and newer), or else
# CVAT_USERNAME         a user and
# CVAT_PASSWORD_FILE    a file that holds only the password
# LSL_BACKUPS           where backups go: a folder or a URL such as s3://bucket/cvat
# LSL_BACKUP_KEY_FILE   key file of an encrypted repository (optional)
# LSL_WORKSPACE         folder of the workspace; default: /var/lib/lsl

: "${CVAT_URL:?CVAT_URL is not set: which server?}"
: "${LSL_BACKUPS:?LSL_BACKUPS is not set: where do backups go?}"
export LSL_WORKSPACE="${LSL_WORKSPACE:-/var/lib/lsl}"
lsl=${LSL:-lsl}

if [ ! -f "$LSL_WORKSPACE/lsl.toml" ]; then
    "$lsl" create "$LSL_WORKSPACE" --task fsis
fi

# signs in anew every time: the server behind the address may be another one by now
if [ -n "${CVAT_ACCESS_TOKEN:-}" ]; then
    "$lsl" cvat-setup --url "$CVAT_URL"
else
    : "${CVAT_USERNAME:?set CVAT_ACCESS_TOKEN, or CVAT_USERNAME and CVAT_PASSWORD_FILE}"
    # by a pipe: what is among the arguments can be seen by everybody on the machine
    "$lsl" cvat-setup --url "$CVAT_URL" --cvat-username "$CVAT_USERNAME" \
        < "${CVAT_PASSWORD_FILE:?CVAT_PASSWORD_FILE is not set}"
fi

if [ -n "${LSL_BACKUP_KEY_FILE:-}" ]; then
    "$lsl" backup init "$LSL_BACKUPS" --key-file "$LSL_BACKUP_KEY_FILE"
else
    "$lsl" backup init "$LSL_BACKUPS"
fi
