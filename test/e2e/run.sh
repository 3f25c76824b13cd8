#!/usr/bin/env bash
# Builds the images, loads them into a cluster and runs the end-to-end tests there (docs/e2e.md has all settings). With
# KUBECONFIG set, that is the cluster; E2E_LOAD is then the command that brings an image to its nodes. Otherwise the cluster of
# ../shared/cluster beside the repository is started, and stopped at the end. "run.sh probe" only finds out whether that can
# be: it prints the reason why not and exits with 3.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf '%s e2e: %s\n' "$(date +%T)" "$*"; }

tools=$PWD/bin/e2e
shared=$(cd .. && pwd)/shared/cluster
state=${CLUSTER_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/k8s-local}
repository=registry.example.com/scim-operator # as README.md has it: no image is pulled from there

# obstacle prints what keeps Pods from running on this machine; nothing where nothing does.
obstacle() {
  [ -f "$shared/up.sh" ] || { echo "KUBECONFIG is not set, and ../shared/cluster is not there"; return; }
  [ "$(id -u)" = 0 ] || { echo "starting a cluster needs root"; return; }
  for tool in ip unshare mount openssl; do
    command -v "$tool" >/dev/null || { echo "$tool is not installed"; return; }
  done
  local lacking=""
  for tool in dockerd containerd runc nft conntrack ipset; do command -v "$tool" >/dev/null || lacking=$tool; done
  if [ -n "$lacking" ]; then
    command -v apt-get >/dev/null || { echo "$lacking is not installed, and there is no apt-get"; return; }
    { apt-get update -qq && apt-get install --simulate -qq docker.io containerd runc containernetworking-plugins nftables iptables conntrack ipset; } \
      >/dev/null 2>&1 || { echo "$lacking is not installed, and apt-get cannot install it"; return; }
  fi
  unshare --net ip link add e2e0 type bridge 2>/dev/null || { echo "network namespaces with bridges are not permitted"; return; }
  unshare --net ip link add e2e0 type veth peer name e2e1 2>/dev/null || { echo "network namespaces with veth pairs are not permitted"; return; }
  ! command -v nft >/dev/null || unshare --net nft add table ip e2e 2>/dev/null || { echo "nftables are not permitted"; return; }
  local groups=/sys/fs/cgroup
  [ -f $groups/cgroup.controllers ] || groups=$groups/memory
  { mkdir "$groups/e2e-probe.$$" && rmdir "$groups/e2e-probe.$$"; } 2>/dev/null || { echo "control groups cannot be made in $groups"; return; }
  local layers
  mkdir -p "$state" && layers=$(mktemp -d "$state/probe.XXXXXX") && mkdir "$layers"/{lower,upper,work,merged}
  unshare --mount mount -t overlay -o "lowerdir=$layers/lower,upperdir=$layers/upper,workdir=$layers/work" overlay "$layers/merged" 2>/dev/null ||
    echo "overlay file systems cannot be mounted below $state"
  rm -rf "$layers"
  local free
  free=$(df --output=avail -k "$state" | tail -1)
  [ "$free" -gt $((8 * 1024 * 1024)) ] || echo "8 GiB are needed below $state, $((free / 1024)) MiB are free"
}

if [ -z "${KUBECONFIG:-}" ]; then
  reason=$(obstacle)
  if [ -n "$reason" ]; then
    say "not run: $reason. Set KUBECONFIG to a cluster to use: it is installed into, disturbed and uninstalled from"
    exit 3
  fi
fi
[ "${1:-}" != probe ] || exit 0

mkdir -p "$tools"
take_down() {
  test/e2e/policies.sh stop || true
  [ -n "${own_cluster:-}" ] && [ "${E2E_KEEP:-0}" != 1 ] || return 0
  say "taking the cluster down"
  bash "$shared/down.sh"
  if [ -z "$had_docker" ] && [ -f "$state/run/dockerd.pid" ]; then kill "$(cat "$state/run/dockerd.pid")" 2>/dev/null || true; fi
}
trap take_down EXIT

# A kubelet removes images that no Pod uses at the moment, its own sandbox's among them, where the file system is 85 % full. No
# registry gives them back: it is started again without that.
keep_images() {
  local arguments
  mapfile -d '' -t arguments <"/proc/$(cat "$state/run/kubelet.pid")/cmdline"
  kill "$(cat "$state/run/kubelet.pid")"
  while kill -0 "$(cat "$state/run/kubelet.pid")" 2>/dev/null; do sleep 0.1; done
  { cat "$state/kubelet.yaml" && echo "imageGCHighThresholdPercent: 100"; } >"$state/kubelet-e2e.yaml"
  (. "$shared/common.sh" && start kubelet "${arguments[@]/#"$state/kubelet.yaml"/"$state/kubelet-e2e.yaml"}")
}

# What enforces NetworkPolicies on the node while the scenario about them plays: a process, since the node's own network does not.
policy_controller() {
  command -v ipset >/dev/null || apt-get install -y -qq --no-install-recommends ipset >/dev/null || return 0
  CGO_ENABLED=0 go build -modfile=hack/tools/kube-router/go.mod -trimpath -ldflags "-s -w" -o "$tools/kube-router" \
    github.com/cloudnativelabs/kube-router/v2/cmd/kube-router || return 0
  export E2E_START_POLICIES="$PWD/test/e2e/policies.sh start" E2E_STOP_POLICIES="$PWD/test/e2e/policies.sh stop"
}

docker=${DOCKER:-docker}
if [ -z "${KUBECONFIG:-}" ]; then
  own_cluster=yes
  had_docker=$(docker version >/dev/null 2>&1 && echo yes || true)
  # An earlier run that was killed leaves a cluster in no known state, and pid files that may by now name other processes.
  for file in "$state"/run/*.pid; do
    [ -f "$file" ] || continue
    name=$(basename "$file" .pid)
    [ "$(cat "/proc/$(cat "$file")/comm" 2>/dev/null)" = "${name:0:15}" ] || rm -f "$file"
  done
  if [ "${E2E_KEEP:-0}" != 1 ] && [ -d "$state/run" ]; then bash "$shared/down.sh"; fi
  say "starting the cluster of $shared"
  KUBECONFIG=$(bash "$shared/up.sh" | tail -1)
  export KUBECONFIG PATH="$state/bin:$PATH"
  keep_images
  docker="bash $shared/docker.sh"
  E2E_LOAD=${E2E_LOAD:-bash $shared/load-image.sh}
  export E2E_PROCESSES=1
  # The API server may take a minute to end after SIGTERM.
  export E2E_STOP_APISERVER="kill \$(cat $state/run/kube-apiserver.pid); while kill -0 \$(cat $state/run/kube-apiserver.pid) 2>/dev/null; do sleep 0.2; done"
  export E2E_START_APISERVER="bash $shared/up.sh"
fi

# Where no registry can be reached, stand-ins under the base images' names take their place.
base_images() {
  [ -n "${own_cluster:-}" ] || return 0
  printf -- '--network host'
  grep -E '^ARG [A-Z]+_IMAGE=' "$1" | while IFS== read -r argument base; do
    base=${base%@*}
    $docker image inspect "$base" >/dev/null 2>&1 || bash "$shared/build-image-bases.sh" "$base" >&2
    printf -- ' --build-arg %s=%s' "${argument#ARG }" "$base"
  done
}

# build DIR TAG has the tree in DIR build its image.
build() {
  make --no-print-directory -C "$1" docker-build IMG="$repository:$2" DOCKER="$docker" DOCKER_BUILD_ARGS="$(base_images "$1/Dockerfile")" 2>&1 |
    grep --line-buffered -E '^(Step|Successfully|#[0-9]+ (DONE|ERROR)|make)|rror' || true
  $docker image inspect "$repository:$2" >/dev/null
}

# The README's own make docker-build finds the layers of this one: it has the same arguments. Its push loads.
export VERSION=e2e COMMIT
COMMIT=$(git rev-parse HEAD 2>/dev/null || echo unknown)
if [ -n "${E2E_IMAGE:-}" ]; then
  $docker tag "$E2E_IMAGE" "$repository:v0.1.0"
else
  say "building the image"
  build . v0.1.0
fi
# The image of an update has the same program.
printf 'FROM %s:v0.1.0\nLABEL e2e=two\n' "$repository" | $docker build -t "$repository:v0.2.0" - >/dev/null 2>&1
images=("$repository:v0.1.0" "$repository:v0.2.0" "$repository:probe")

export E2E_EARLIER=${E2E_EARLIER-$(git describe --tags --abbrev=0 --match 'v*' HEAD^ 2>/dev/null || true)}
if [ -n "$E2E_EARLIER" ]; then
  say "building the image of $E2E_EARLIER"
  export E2E_EARLIER_TREE=$tools/earlier
  rm -rf "$E2E_EARLIER_TREE" && mkdir -p "$E2E_EARLIER_TREE"
  git archive "$E2E_EARLIER" | tar -x -C "$E2E_EARLIER_TREE"
  if [ -n "${E2E_EARLIER_IMAGE:-}" ]; then
    $docker tag "$E2E_EARLIER_IMAGE" "$repository:earlier"
  else
    VERSION=$E2E_EARLIER COMMIT=$(git rev-parse "$E2E_EARLIER^{commit}") build "$E2E_EARLIER_TREE" earlier
  fi
  images+=("$repository:earlier")
fi

say "building the tools"
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$tools/probe" ./test/e2e/probe
printf 'FROM scratch\nCOPY probe /probe\nUSER 65532:65532\nENTRYPOINT ["/probe"]\n' >"$tools/Dockerfile"
tar -C "$tools" -c Dockerfile probe | $docker build -t "$repository:probe" - >/dev/null 2>&1
[ -z "${own_cluster:-}" ] || policy_controller
go build -modfile=hack/tools/helm/go.mod -o "$tools/helm" helm.sh/helm/v4/cmd/helm
make --no-print-directory build

say "loading the images"
load=${E2E_LOAD:-true}
for image in "${images[@]}"; do $load "$image" 2>/dev/null || $load "$image"; done
# What the commands of the README call docker: a push brings the image to the nodes, and an image that was given is not built.
cat >"$tools/images" <<SCRIPT
#!/bin/sh
case \$1 in
push) exec $load "\$2" ;;
build) [ -z "${E2E_IMAGE:-}" ] || exec $docker tag "${E2E_IMAGE:-}" $repository:v0.1.0 ;;
esac
exec $docker "\$@"
SCRIPT
chmod +x "$tools/images"
export DOCKER=$tools/images PATH="$tools:$PATH"
export DOCKER_BUILD_ARGS
DOCKER_BUILD_ARGS=$(base_images Dockerfile)

say "running the tests"
go test -tags e2e -count 1 -v -timeout "${E2E_TIMEOUT:-40m}" ${TEST_ARGS:-} ./test/e2e
