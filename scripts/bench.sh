#!/bin/sh
# Runs the benchmarks: those of the whole binary once each, then those of the packages. docs/benchmarks.md
# tells the method. Arguments go to go test.
set -eu
cd "$(dirname "$0")/.."

scripts/postgres.sh >&2
scripts/moto.sh >&2
go test -run '^$' -bench . -benchtime 1x -timeout 30m "$@" ./e2e
go test -run '^$' -bench . -timeout 30m "$@" ./sigma ./internal/...
