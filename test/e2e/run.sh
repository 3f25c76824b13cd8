#!/usr/bin/env bash
# Builds the image, loads it into a cluster and runs the end-to-end tests there (docs/e2e.md). With KUBECONFIG set, that is the
# cluster; E2E_LOAD is then the command that brings an image to its nodes. Otherwise the cluster of ../shared/cluster
# beside the repository is started, and stopped at the end.
#   E2E_KEEP=1 leaves the started cluster as it is, for a look or for another run.
#   E2E_IMAGE=NAME takes an image that is there already in place of building one.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf '%s e2e: %s\n' "$(date +%T)" "$*"; }

image=scim-operator-e2e
docker=${DOCKER:-docker}
shared=$(cd .. && pwd)/shared/cluster
if [ -z "${KUBECONFIG:-}" ]; then
  if [ ! -x "$shared/up.sh" ] && [ ! -f "$shared/up.sh" ]; then
    say "set KUBECONFIG to the cluster to use: it is installed into, disturbed and uninstalled from"
    exit 2
  fi
  state=${CLUSTER_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/k8s-local}
  # An earlier run that was killed leaves a cluster in no known state: one that answers is used, any other is taken down first.
  if [ -f "$state/kubeconfig" ] && ! KUBECONFIG=$state/kubeconfig "$state/bin/kubectl" get --raw /readyz >/dev/null 2>&1; then
    say "taking down what an earlier run left"
    bash "$shared/down.sh"
  fi
  if [ "${E2E_KEEP:-0}" != 1 ]; then trap 'say "taking the cluster down"; bash "$shared/down.sh"' EXIT; fi
  say "starting the cluster of $shared"
  KUBECONFIG=$(bash "$shared/up.sh" | tail -1)
  export KUBECONFIG PATH="$state/bin:$PATH"
  docker="bash $shared/docker.sh"
  E2E_LOAD=${E2E_LOAD:-bash $shared/load-image.sh}
  export E2E_PROCESSES=1
  # The API server may take a minute to end after SIGTERM.
  export E2E_STOP_APISERVER="kill \$(cat $state/run/kube-apiserver.pid); while kill -0 \$(cat $state/run/kube-apiserver.pid) 2>/dev/null; do sleep 0.2; done"
  export E2E_START_APISERVER="bash $shared/up.sh"
  build_options=(--network host)
fi

if [ -n "${E2E_IMAGE:-}" ]; then
  $docker tag "$E2E_IMAGE" "$image:one"
else
  if [ -f "$shared/build-image-bases.sh" ]; then
    while read -r base; do
      $docker image inspect "$base" >/dev/null 2>&1 || bash "$shared/build-image-bases.sh" "$base"
    done < <(awk 'toupper($1) == "FROM" {sub(/^--platform=[^ ]* /, "", $0); print $2}' Dockerfile)
  fi
  say "building the image"
  $docker build "${build_options[@]}" --build-arg VERSION=e2e -t "$image:one" . | grep -E '^(Step|Successfully|#[0-9]+ (DONE|ERROR))' || true
fi
# The image of an update: another one with the same program.
printf 'FROM %s:one\nLABEL e2e=two\n' "$image" | $docker build -t "$image:two" - >/dev/null
if [ -n "${E2E_LOAD:-}" ]; then
  say "loading the image"
  for tag in one two; do $E2E_LOAD "$image:$tag"; done
fi

say "running the tests"
go test -tags e2e -count 1 -v -timeout "${E2E_TIMEOUT:-40m}" ${TEST_ARGS:-} ./test/e2e
