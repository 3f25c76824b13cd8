#!/usr/bin/env bash
# Tells what an undeployed operator leaves in the cluster of KUBECONFIG: definitions, objects, and the bindings that go on
# granting access. It changes nothing.
set -euo pipefail
# command: with KUBECTL=kubectl the function would call itself.
kubectl() { command ${KUBECTL:-kubectl} "$@"; }
count() { kubectl get "$@" --no-headers --ignore-not-found 2>/dev/null | wc -l; }

echo
echo "The operator is removed. What remains:"
for crd in $(kubectl get customresourcedefinitions -o name | sed -n 's|.*/\(.*\.scim-operator\.io\)$|\1|p'); do
  printf '  %6d  %s\n' "$(count "$crd" --all-namespaces)" "$crd"
done
bindings=$(count rolebindings,clusterrolebindings --all-namespaces -l app.kubernetes.io/managed-by=scim-operator)
printf '  %6d  RoleBindings and ClusterRoleBindings\n\n' "$bindings"
if [ "$bindings" -gt 0 ]; then
  echo "These bindings go on granting access, and no deactivation reaches them until the operator is back."
fi
echo "The admission policies stay, too: no user can be forged meanwhile. 'make deploy' takes up where this ended;"
echo "'make uninstall' revokes and removes everything."
