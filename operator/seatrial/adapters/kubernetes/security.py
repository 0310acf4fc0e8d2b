"""Security of a trial's Pod where its template says nothing: what Pod Security's level ``restricted`` asks for. Pure.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
What the template sets is never changed, and nothing is added that would contradict it.
"""

from seatrial.adapters.kubernetes.port import KubeObject

__all__ = ["add_security_defaults"]


def add_security_defaults(spec: KubeObject) -> None:
    """Add the defaults to a Pod's specification in place."""
    if (spec.get("os") or {}).get("name") == "windows":
        return
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    pod = spec["securityContext"] = dict(spec.get("securityContext") or {})
    if not any(_is_root(context) for context in (pod, *map(_context, containers))):
        pod.setdefault("runAsNonRoot", True)
    pod.setdefault("seccompProfile", {"type": "RuntimeDefault"})
    for container in containers:
        context = container["securityContext"] = _context(container)
        added = (context.get("capabilities") or {}).get("add") or ()
        if not context.get("privileged") and not {"SYS_ADMIN", "CAP_SYS_ADMIN"} & set(added):
            context.setdefault("allowPrivilegeEscalation", False)
        if not context.get("privileged"):
            context.setdefault("capabilities", {"drop": ["ALL"]})


def _context(container: KubeObject) -> KubeObject:
    return dict(container.get("securityContext") or {})


def _is_root(context: KubeObject) -> bool:
    """Tell whether somebody asked to be root: then demanding the contrary would only keep the Pod from starting."""
    return context.get("runAsUser") == 0
