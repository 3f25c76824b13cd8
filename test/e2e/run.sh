#!/usr/bin/env bash
# Builds the image, loads it into a cluster and runs the end-to-end tests there (docs/e2e.md). With KUBECONFIG set, that is the
# cluster; E2E_LOAD is then the command that brings an image to its nodes. Otherwise the cluster of ../shared/cluster
# beside the repository is started, and stopped at the end.
#   E2E_KEEP=1 leaves the started cluster as it is, for a look or for another run.
#   E2E_IMAGE=NAME takes an image that is there already in place of building one.
#   E2E_EARLIER_IMAGE=NAME is what the scenario "image update" goes to, and comes back from.
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
  # An earlier run that was killed leaves a cluster in no known state, and pid files that may by now name other processes.
  for file in "$state"/run/*.pid; do
    [ -f "$file" ] || continue
    name=$(basename "$file" .pid)
    [ "$(cat "/proc/$(cat "$file")/comm" 2>/dev/null)" = "${name:0:15}" ] || rm -f "$file"
  done
  if [ "${E2E_KEEP:-0}" != 1 ]; then
    had_docker=$(docker version >/dev/null 2>&1 && echo yes || true)
    take_down() {
      say "taking the cluster down"
      bash "$shared/down.sh"
      if [ -z "$had_docker" ] && [ -f "$state/run/dockerd.pid" ]; then kill "$(cat "$state/run/dockerd.pid")" 2>/dev/null || true; fi
    }
    trap take_down EXIT
    if [ -d "$state/run" ]; then bash "$shared/down.sh"; fi
  fi
  say "starting the cluster of $shared"
  KUBECONFIG=$(bash "$shared/up.sh" | tail -1)
  export KUBECONFIG PATH="$state/bin:$PATH"
  docker="bash $shared/docker.sh"
  E2E_LOAD=${E2E_LOAD:-bash $shared/load-image.sh}
  export E2E_PROCESSES=1
  # The API server may take a minute to end after SIGTERM.
  export E2E_STOP_APISERVER="kill \$(cat $state/run/kube-apiserver.pid); while kill -0 \$(cat $state/run/kube-apiserver.pid) 2>/dev/null; do sleep 0.2; done"
  export E2E_START_APISERVER="bash $shared/up.sh"
  # No registry can be reached there: stand-ins under the base images' names take their place.
  build_options="--network host"
  while IFS== read -r argument base; do
    base=${base%@*}
    $docker image inspect "$base" >/dev/null 2>&1 || bash "$shared/build-image-bases.sh" "$base"
    build_options+=" --build-arg ${argument#ARG }=$base"
  done < <(grep -E '^ARG [A-Z]+_IMAGE=' Dockerfile)
fi

if [ -n "${E2E_IMAGE:-}" ]; then
  $docker tag "$E2E_IMAGE" "$image:one"
else
  say "building the image"
  make --no-print-directory docker-build IMG="$image:one" VERSION=e2e DOCKER="$docker" DOCKER_BUILD_ARGS="${build_options:-}" 2>&1 |
    grep -E '^(Step|Successfully|#[0-9]+ (DONE|ERROR)|make)|rror' || true
  $docker image inspect "$image:one" >/dev/null
fi
# The image of an update: an earlier release, there and back, or another image with the same program.
if [ -n "${E2E_EARLIER_IMAGE:-}" ]; then
  $docker tag "$E2E_EARLIER_IMAGE" "$image:two"
else
  printf 'FROM %s:one\nLABEL e2e=two\n' "$image" | $docker build -t "$image:two" - >/dev/null 2>&1
fi
if [ -n "${E2E_LOAD:-}" ]; then
  say "loading the image"
  for tag in one two; do $E2E_LOAD "$image:$tag"; done
fi

make --no-print-directory build

say "running the tests"
go test -tags e2e -count 1 -v -timeout "${E2E_TIMEOUT:-40m}" ${TEST_ARGS:-} ./test/e2e
