#!/usr/bin/env bash
# node.sh VERSION TARGET: fails where Node.js is missing or older than VERSION, or npm is missing, and says what TARGET of make needs.
set -euo pipefail

need() {
  echo "make $2 needs Node.js $1 or later, and npm: $3. Install a newer one (https://nodejs.org/en/download), or put it first in PATH." >&2
  exit 1
}

command -v node >/dev/null || need "$1" "$2" "there is no node"
command -v npm >/dev/null || need "$1" "$2" "there is no npm"
version=$(node --version) # v20.20.2
version=${version#v}
[ "$(printf '%s\n' "$1" "$version" | sort -V | head -n 1)" = "$1" ] || need "$1" "$2" "$(command -v node) is $version"
