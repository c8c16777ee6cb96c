#!/bin/sh
# Starts an emulator of AWS, plays the demonstration on it, and ends the emulator whatever happens. Arguments
# go to riposte demo (--stay, --log FILE).
set -eu
cd "$(dirname "$0")/.."

server=$(scripts/moto.sh)
folder=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$server" -H 127.0.0.1 -p "$port" >"$folder/emulator.log" 2>&1 &
emulator=$!
end() {
    kill "$emulator" 2>/dev/null || true
    wait "$emulator" 2>/dev/null || true
    rm -rf "$folder"
}
trap end EXIT
trap 'exit 130' INT TERM

tries=0
until python3 -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$port/moto-api/', timeout=2)" 2>/dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -gt 150 ] || ! kill -0 "$emulator" 2>/dev/null; then
        echo "the emulator did not start:" >&2
        cat "$folder/emulator.log" >&2
        exit 1
    fi
    sleep 0.2
done

# The emulator takes any credentials; real ones must not even be looked for.
AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo AWS_SESSION_TOKEN= AWS_PROFILE= AWS_EC2_METADATA_DISABLED=true \
    AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null \
    bin/riposte demo --endpoint "http://127.0.0.1:$port" "$@"
