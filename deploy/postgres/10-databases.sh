#!/bin/sh
# Runs once, on an empty volume: a role and a database for Dagster, and others for the control database with the books.
# Neither role may open the other's database, so that the webserver cannot reach the books.
set -eu
for name in dagster magpie; do
    # psql takes it from its environment: so it is quoted rightly, and stands in no list of processes.
    PASSWORD="$(cat "${SECRETS:-/run/secrets}/${name}_password")"
    export PASSWORD
    psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres --set name="$name" <<'SQL'
\getenv password PASSWORD
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
