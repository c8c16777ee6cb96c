#!/bin/sh
# Makes sure that moto's server, the emulator of AWS that demo and tests use, is there: the one on PATH, or
# one installed into a private environment below .tools. Prints its path. Safe to run again.
set -eu
cd "$(dirname "$0")/.."

private=.tools/moto/bin/moto_server
if [ -x "$private" ]; then
    echo "$PWD/$private"
    exit 0
fi
if command -v moto_server >/dev/null 2>&1; then
    command -v moto_server
    exit 0
fi
if ! command -v python3 >/dev/null 2>&1; then
    echo "the AWS emulator needs Python 3.9 or newer: install python3 and its venv module" >&2
    exit 1
fi
echo "installing moto's server into .tools/moto" >&2
python3 -m venv .tools/moto
.tools/moto/bin/pip install --quiet --disable-pip-version-check 'moto[server]==5.2.1' >&2
test -x "$private"
echo "$PWD/$private"
