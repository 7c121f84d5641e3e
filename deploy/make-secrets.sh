#!/bin/sh
# Makes the passwords of Postgres and the addresses that hold them, in deploy/secrets; what is there stays as it is.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets/keys secrets/lake

# Services run as users of their own and must be able to read; on this machine `secrets` itself keeps others out.
chmod 755 secrets/keys secrets/lake

# Hexadecimal, so that it needs no escaping within an address.
password() { head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

put() {
    if [ ! -e "secrets/$1" ]; then
        printf '%s\n' "$2" >"secrets/$1"
        chmod 444 "secrets/$1"
    fi
}

put postgres_password "$(password)"
for name in dagster magpie; do
    put "${name}_password" "$(password)"
done
put dagster_url "postgresql+psycopg2://dagster:$(cat secrets/dagster_password)@postgres:5432/dagster"
put control_url "postgresql://magpie:$(cat secrets/magpie_password)@postgres:5432/magpie"
