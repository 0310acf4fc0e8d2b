"""What was stored counts some moments later: the API server hears of it by watches of its own, as everybody does."""

from __future__ import annotations

import itertools
import os
from typing import Any

from control_plane.client import Client
from control_plane.cluster import wait_until

__all__ = ["restrict", "until_roles_count"]

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_numbers = itertools.count(1)


def until_roles_count(api: Client) -> None:
    """Return once all roles and bindings that were stored before count, and those that were deleted do not.

    There is a watch for each of the four kinds, and each tells in order: where the last one of each kind counts, so do all before it.
    """
    last = f"last-{os.getpid()}-{next(_numbers)}"
    here = f"{_RBAC}/namespaces/default"
    made = [(_RBAC, "ClusterRole", f"{last}-everywhere"), (here, "Role", f"{last}-here")]
    rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [last], "verbs": ["get"]}
    for path, kind, name in made:
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
        subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}]
        _store(api, f"{path}/{kind.lower()}s", {"metadata": {"name": name}, "rules": [rule]})
        _store(
            api,
            f"{path}/{kind.lower()}bindings",
            {"metadata": {"name": name}, "roleRef": role, "subjects": subjects},
        )
    wait_until(lambda: all(_may_read(api, name, last) for _, _, name in made), what="the roles to count")
    for path, kind, name in made:
        for part in ("bindings", "s"):
            api.delete(f"{path}/{kind.lower()}{part}/{name}")


def restrict(api: Client, namespace: str) -> None:
    """Let Pod Security keep its strictest level in a namespace, and return once it does."""
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    assert api.merge(f"/api/v1/namespaces/{namespace}", label).is_accepted
    container = {"name": "c", "image": "i", "securityContext": {"privileged": True}}
    pod = {"metadata": {"name": "privileged"}, "spec": {"containers": [container]}}

    def is_kept() -> bool:
        return "violates PodSecurity" in api.create(f"/api/v1/namespaces/{namespace}/pods", pod, dryRun="All").message

    wait_until(is_kept, what="Pod Security to count")


def _store(api: Client, path: str, body: dict[str, Any]) -> None:
    answer = api.create(path, body)
    assert answer.is_accepted, answer.message


def _may_read(api: Client, user: str, name: str) -> bool:
    asked = {"namespace": "default", "verb": "get", "resource": "configmaps", "name": name}
    review = {"spec": {"user": user, "resourceAttributes": asked}}
    answer = api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer.body["status"]["allowed"])
