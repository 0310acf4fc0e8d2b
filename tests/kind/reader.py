"""Objects of a cluster over kept connections: tests look several times a second, and a kubectl for each look takes a core."""

from __future__ import annotations

import base64
import http.client
import threading
from pathlib import Path
from typing import Any

import yaml

from control_plane.access import Access
from control_plane.client import Client

__all__ = ["Reader"]

_PREFIXES = {
    "deployments": "/apis/apps/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "studies": "/apis/seatrial.dev/v1alpha1",
    "trials": "/apis/seatrial.dev/v1alpha1",
}


class Reader:
    """Reads as the cluster's admin, from any thread."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        """Take the admin's certificates out of a kubeconfig of kind.

        Args:
            kubeconfig: The file that kind wrote.
            folder: Where the certificates are put, since TLS takes files alone; for this reader alone.
        """
        said = yaml.safe_load(kubeconfig.read_text())
        cluster, user = said["clusters"][0]["cluster"], said["users"][0]["user"]
        files = {name: folder / name for name in ("authority", "certificate", "key")}
        data = (cluster["certificate-authority-data"], user["client-certificate-data"], user["client-key-data"])
        for file, written in zip(files.values(), data, strict=True):
            file.write_bytes(base64.b64decode(written))
        self._access = Access(server=cluster["server"], kubeconfig=kubeconfig, **files)
        self._here = threading.local()

    def get(self, resource: str, name: str = "", *, namespace: str = "", labels: str = "") -> dict[str, Any]:
        """Return an object, or without a name a list, as the API server has it.

        Raises:
            RuntimeError: If the API server gives none; with its words.
        """
        path = _PREFIXES.get(resource, "/api/v1")
        path += f"/namespaces/{namespace}" if namespace else ""
        path += f"/{resource}/{name}" if name else f"/{resource}"
        query = {"labelSelector": labels} if labels else {}
        client = self._client()
        try:
            answer = client.get(path, **query)
        except (http.client.HTTPException, ConnectionError):
            # The server ends a connection that nobody used for minutes; the next request opens another.
            client.close()
            answer = client.get(path, **query)
        if not answer.is_accepted:
            raise RuntimeError(f"{path}: {answer.message}")
        return answer.body

    def watchers(self, resource: str) -> int:
        """Return how many watch a resource in one namespace; the operator watches all of them at once and does not count."""
        told = self._client().get("/metrics").message
        wanted = (f'resource="{resource}"', 'scope="namespace"', 'verb="WATCH"')
        lines = [line for line in told.splitlines() if line.startswith("apiserver_longrunning_requests{")]
        return sum(int(line.rpartition(" ")[2]) for line in lines if all(each in line for each in wanted))

    def _client(self) -> Client:
        """Return this thread's connection."""
        if not hasattr(self._here, "client"):
            self._here.client = Client(self._access)
        client: Client = self._here.client
        return client
