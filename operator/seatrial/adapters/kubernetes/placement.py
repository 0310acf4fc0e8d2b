"""Keeps a Pod away from nodes, beside whatever its template wants of them. Pure; needs no permission to read nodes."""

from collections.abc import Sequence

from seatrial.adapters.kubernetes.port import KubeObject

__all__ = ["exclude_nodes"]

_HOSTNAME = "kubernetes.io/hostname"
_NODE_NAME = "metadata.name"
_NEW: KubeObject = {}


def exclude_nodes(spec: KubeObject, nodes: Sequence[str]) -> None:
    """Add a required node affinity against *nodes* to the specification of a Pod.

    Kubernetes wants one of ``nodeSelectorTerms`` to hold and, within a term, all of its requirements: so each term gets them.
    A node is named by its label and by its name, which differ on some clouds. A field selector takes one value only.

    Args:
        spec: Of the Pod; changed in place. One that names its node is left alone: no scheduler looks at it.
        nodes: Names of nodes.
    """
    if not nodes or spec.get("nodeName"):
        return
    affinity: KubeObject = dict(spec.get("affinity") or {})
    node: KubeObject = dict(affinity.get("nodeAffinity") or {})
    required: KubeObject = dict(node.get("requiredDuringSchedulingIgnoredDuringExecution") or {})
    terms = required.get("nodeSelectorTerms") or [_NEW]
    required["nodeSelectorTerms"] = [_without(term, nodes) for term in terms]
    node["requiredDuringSchedulingIgnoredDuringExecution"] = required
    affinity["nodeAffinity"] = node
    spec["affinity"] = affinity


def _without(term: KubeObject, nodes: Sequence[str]) -> KubeObject:
    if term is not _NEW and not term.get("matchExpressions") and not term.get("matchFields"):
        # An empty term matches no node at all; requirements would make it match most of them.
        return term
    labels = {"key": _HOSTNAME, "operator": "NotIn", "values": list(nodes)}
    fields = [{"key": _NODE_NAME, "operator": "NotIn", "values": [node]} for node in nodes]
    return {
        **term,
        "matchExpressions": [*(term.get("matchExpressions") or ()), labels],
        "matchFields": [*(term.get("matchFields") or ()), *fields],
    }
