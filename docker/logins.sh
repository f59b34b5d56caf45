#!/bin/sh
# Run once by the PostgreSQL image over new data: the logins, the database and its extensions.
# The owner migrates; the API and the worker own nothing and pass no row-level security.
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    -v owner="$ZW_OWNER_PASSWORD" -v api="$ZW_API_PASSWORD" -v worker="$ZW_WORKER_PASSWORD" <<'SQL'
CREATE ROLE zw_owner LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS PASSWORD :'owner';
CREATE ROLE zw_api LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD :'api';
CREATE ROLE zw_worker LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD :'worker';
GRANT zw_api, zw_worker TO zw_owner WITH ADMIN OPTION;
CREATE DATABASE zhiwang OWNER zw_owner;
\connect zhiwang
CREATE EXTENSION pg_trgm;
CREATE EXTENSION btree_gist;
CREATE EXTENSION unaccent;
SQL
