#!/usr/bin/env bash
# Installs OpenAI's Python and Node clients, as pinned here, outside the checkout, and prints where. Done once; needs the registries then.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=$(cat "$here/requirements.txt" "$here/package.json" | sha256sum | cut -c1-12)
env="${XDG_CACHE_HOME:-$HOME/.cache}/inlay/clients-$name"
if [ "${1:-}" = "--where" ]; then
    echo "$env"
    exit 0
fi
if [ ! -f "$env/python/complete" ] && command -v python3 > /dev/null; then
    rm -rf "$env/python"
    python3 -m venv "$env/python" && "$env/python/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2 \
        && touch "$env/python/complete" || echo "the Python client could not be installed; its test is skipped" >&2
fi
if [ ! -f "$env/node/complete" ] && command -v npm > /dev/null; then
    rm -rf "$env/node"
    mkdir -p "$env/node" && cp "$here/package.json" "$env/node/" && (cd "$env/node" && npm install --silent --no-audit --no-fund >&2) \
        && touch "$env/node/complete" || echo "the Node client could not be installed; its test is skipped" >&2
fi
echo "$env"
