"""NetworkPolicies on the test cluster: kept by kind's own network, and with a node image of our own by an agent of Kubernetes' network group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from kind.cluster import ROOT, KindCluster

__all__ = ["keep_network_policies"]

_AGENT = ROOT / "tests/cluster/network-policies/agent.yaml"
_IMAGE = "seatrial-test/network-policies:local"
# New connections between Pods are the agent's to decide. Kernels without nftables' own queue have this one.
_RULE = ("FORWARD", "-m", "conntrack", "--ctstate", "NEW", "-j", "NFQUEUE", "--queue-num", "100", "--queue-bypass")


@contextmanager
def keep_network_policies(kind: KindCluster) -> Iterator[None]:
    """See to it that NetworkPolicies are kept inside the block."""
    if kind.kubectl("get", "daemonset", "kindnet", "-n", "kube-system", "--ignore-not-found"):
        yield
        return
    (node,) = [node["metadata"]["name"] for node in kind.get("nodes")["items"]]
    kind.run("scripts/cluster-tools", "network-policies")
    kind.build_image(_IMAGE, "network-policies")
    kind.load(_IMAGE)
    with ExitStack() as steps:
        steps.callback(kind.kubectl, "delete", "--ignore-not-found", "-f", str(_AGENT))
        kind.kubectl("apply", "-f", str(_AGENT))
        kind.kubectl("wait", "--for=condition=Ready", "pod/network-policies", "-n", "kube-system", "--timeout=60s")
        kind.run("docker", "exec", node, "iptables", "-I", *_RULE)
        steps.callback(kind.run, "docker", "exec", node, "iptables", "-D", *_RULE)
        yield
