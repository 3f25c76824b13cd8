#!/usr/bin/env bash
# licences.sh PAGE: checks the licence of every module that a program links, on each system that it is built for, against
# LICENCES, and writes the list as a page. bin/go-licenses finds the licences in the modules' own files.
set -euo pipefail
cd "$(dirname "$0")/.."

own=github.com/scim-operator/scim-operator
GOROOT=$(go env GOROOT) && export GOROOT
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '{{range .}}| {{.Name}} | {{.Version}} | {{.LicenseName}} |\n{{end}}' >"$work/template"

# packages prints the packages that the programs link on a system, each after its module.
packages() { GOOS=$1 GOARCH=amd64 CGO_ENABLED=0 go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{$.ImportPath}}{{end}}{{end}}' "${@:2}"; }
# report adds what packages and their dependencies are licensed under. The tool also looks for the address of each licence, which needs a
# network and is not in the list: what it says of that is left out, but where it fails.
report() {
  GOOS=$1 GOARCH=amd64 CGO_ENABLED=0 bin/go-licenses report "${@:2}" --ignore "$own" --template "$work/template" >>"$work/list" 2>"$work/complaints" ||
    { cat "$work/complaints" >&2; return 1; }
}

# Most modules are linked on every system: they are looked at once, since that takes a processor half a minute.
report linux ./cmd/scim-operator ./cmd/kubectl-scim
packages linux ./cmd/scim-operator ./cmd/kubectl-scim | cut -d' ' -f1 | sort -u >"$work/seen"
for system in darwin windows; do
  mapfile -t others < <(packages "$system" ./cmd/kubectl-scim | grep -v -F -x -f <(packages "$system" ./cmd/kubectl-scim | grep -F -f <(sed 's/$/ /' "$work/seen")) | cut -d' ' -f2)
  [ ${#others[@]} -eq 0 ] || report "$system" "${others[@]}"
done

LC_ALL=C sort -u "$work/list" >"$work/sorted"
missing=$(for module in $(cat "$work/seen"); do grep -q -F "| $module" "$work/sorted" || echo "$module"; done)
[ -z "$missing" ] || { echo "no licence is found of: $missing" >&2; exit 1; }
if awk -F' [|] |^[|] | [|]$' -v allowed=",$LICENCES," 'index(allowed, "," $4 ",") == 0 || $3 == "Unknown"' "$work/sorted" | grep .; then
  echo "allowed are $LICENCES" >&2
  exit 1
fi
{
  cat <<'END'
# Third-party modules

What the image and the kubectl plugin are linked of, with the licence that each module's own file has. `make licences` writes this page,
and fails for a licence that is not on its list; CI fails where the page is stale. The licences' texts are in the modules; a release's bills
of materials ([release.md](release.md)) name the modules of exactly that version.

| Module | Version | Licence |
|---|---|---|
END
  cat "$work/sorted"
} >"$1"
