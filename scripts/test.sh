#!/bin/sh
# Runs every test with all that they need: PostgreSQL and the emulator of AWS are installed where they are
# missing; the tests start and end servers of their own.
set -eu
cd "$(dirname "$0")/.."

scripts/postgres.sh
echo "emulator: $(scripts/moto.sh)"
unformatted=$(gofmt -l $(git ls-files '*.go'))
if [ -n "$unformatted" ]; then
    echo "not formatted by gofmt:" >&2
    echo "$unformatted" >&2
    exit 1
fi
go vet ./...
RIPOSTE_TEST_REQUIRE=postgres,moto exec go test -timeout 30m "$@" ./...
