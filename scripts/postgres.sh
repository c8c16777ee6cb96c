#!/bin/sh
# Installs PostgreSQL from Debian's packages where it is missing. Tests start servers of their own from it;
# no cluster is made and none is started. Safe to run again.
set -eu

installed() {
    command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

if installed; then
    echo "PostgreSQL is installed"
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "no apt-get here: install PostgreSQL 14 or newer by the means of this system" >&2
    exit 1
fi
root=""
if [ "$(id -u)" -ne 0 ]; then
    root=sudo
fi

# Debian's package would make and start a cluster named main.
$root mkdir -p /etc/postgresql-common
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    echo "create_main_cluster = false" | $root tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
$root apt-get update -q
$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends postgresql
installed
echo "PostgreSQL is installed"
