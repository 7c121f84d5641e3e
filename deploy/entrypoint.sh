#!/bin/sh
# Starts a service. Dagster takes the address of its database from the environment alone; everything else that is secret
# is read from its file by who needs it.
set -eu
if [ -n "${DAGSTER_POSTGRES_URL_FILE:-}" ]; then
    DAGSTER_POSTGRES_URL="$(cat "$DAGSTER_POSTGRES_URL_FILE")"
    export DAGSTER_POSTGRES_URL
fi
exec "$@"
