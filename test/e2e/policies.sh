#!/usr/bin/env bash
# policies.sh start|stop: has kube-router enforce NetworkPolicies on this machine, as the only node of the cluster of KUBECONFIG, and
# takes away all that it left. test/e2e/run.sh builds it.
set -euo pipefail
tools=$(cd "$(dirname "$0")/../.." && pwd)/bin/e2e
pid=$tools/kube-router.pid
case ${1:-} in
start)
  setsid nohup "$tools/kube-router" --kubeconfig "$KUBECONFIG" --hostname-override node1 --run-router=false --run-service-proxy=false \
    --service-cluster-ip-range 10.96.0.0/16 --health-port 0 >"$tools/kube-router.log" 2>&1 </dev/null &
  echo $! >"$pid"
  ;;
stop)
  [ -f "$pid" ] || exit 0
  kill "$(cat "$pid")" 2>/dev/null || true
  while kill -0 "$(cat "$pid")" 2>/dev/null; do sleep 0.2; done
  # Its own --cleanup-config fails where it was not the proxy of Services, too.
  iptables-save -t filter | grep -vE 'KUBE-(ROUTER|NWPLCY|POD-FW)' | iptables-restore -T filter
  ipset list -n | grep -E '^(KUBE-(SRC|DST)-|kube-router)' | xargs -r -n1 ipset destroy || true
  rm -f "$pid"
  ;;
*)
  echo "usage: policies.sh start|stop" >&2
  exit 2
  ;;
esac
