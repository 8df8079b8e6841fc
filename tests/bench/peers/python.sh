#!/usr/bin/env bash
# Prints a Python that has the peers of requirements.txt, in an environment outside the checkout that is made on first use.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=$(sha256sum "$here/requirements.txt" | cut -c1-12)
env="${XDG_CACHE_HOME:-$HOME/.cache}/inlay/bench-$name"
if [ ! -f "$env/complete" ]; then
    echo "making the peers' Python environment in $env (about 1 GB, once) ..." >&2
    rm -rf "$env"
    python3 -m venv "$env"
    "$env/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    touch "$env/complete"
fi
echo "$env/bin/python"
