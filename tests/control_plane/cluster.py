"""A real control plane as plain processes on loopback: etcd, API server, controller manager, scheduler.

It has no kubelet: nodes and the status of Pods are what a test writes. By hand::

    PYTHONPATH=tests .venv/bin/python -m control_plane.cluster
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL

from control_plane.access import Access, Authority
from control_plane.client import Client
from control_plane.programs import Process, find_program, prepare_programs
from harness.ports import find_port

__all__ = ["LONGEST_SECONDS", "ControlPlane", "run_control_plane", "wait_until"]

CRDS = Path(__file__).parents[2] / "crds"
LONGEST_SECONDS = 150
"""How long anything is waited for. An idle machine needs seconds; an overloaded one needs minutes to start a control plane."""

_START_SECONDS = 180
_ATTEMPTS = 3


def wait_until(condition: Callable[[], bool], *, what: str, seconds: float = LONGEST_SECONDS) -> None:
    """Return as soon as *condition* holds.

    It rests about as long as it takes to look: who looks at hundreds of Pods shall not keep the server from what is waited for.

    Raises:
        TimeoutError: If it does not within *seconds*; *what* is named.
    """
    began = time.monotonic()
    end = began + seconds
    while not condition():
        now = time.monotonic()
        if now > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(min(max(0.05, now - began), 0.2))
        began = time.monotonic()


def _flags(**values: object) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]


@dataclass(slots=True, kw_only=True)
class ControlPlane:
    """A running control plane, with the CRDs installed.

    Attributes:
        folder: Holds certificates, kubeconfig files, etcd's data and each program's log.
        server: Address of the API server.
        admin: Access that may do everything.
        processes: The running programs by name. A test may stop one, and start it again.
    """

    folder: Path
    server: str
    authority: Authority
    admin: Access
    ports: tuple[int, int, int]
    processes: dict[str, Process] = field(default_factory=dict)

    @classmethod
    def create(cls, folder: Path) -> ControlPlane:
        """Make certificates and choose ports; nothing runs yet."""
        authority = Authority.create(folder / "certificates")
        api, client, peer = (find_port() for _ in range(3))
        server = f"https://127.0.0.1:{api}"
        admin = authority.admit(server, "admin", ["system:masters"])
        return cls(folder=folder, server=server, authority=authority, admin=admin, ports=(api, client, peer))

    def start(self) -> None:
        """Start everything and return when it is ready."""
        self.start_etcd()
        self.start_api_server()
        self.install_crds()
        # Only now: the garbage collector looks for new kinds twice a minute, and finds ours if they are there at its start.
        self.start_controllers()
        with self.client() as client:
            _await_garbage_collection(client)

    def start_etcd(self) -> None:
        """Start etcd, which forgets its caution: nobody needs the data after the machine lost its power."""
        _, client, peer = self.ports
        address, neighbours = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        self._run(
            "etcd",
            *_flags(data_dir=self.folder / "etcd", listen_client_urls=address, advertise_client_urls=address),
            *_flags(listen_peer_urls=neighbours, initial_advertise_peer_urls=neighbours),
            *_flags(initial_cluster=f"default={neighbours}", log_level="warn"),
            "--unsafe-no-fsync",
        )

    def start_api_server(self) -> None:
        """Start the API server and wait until it is ready."""
        api, client, _ = self.ports
        certificate, key = self.authority.sign_server()
        self._run(
            "kube-apiserver",
            *_flags(etcd_servers=f"http://127.0.0.1:{client}", secure_port=api, bind_address="127.0.0.1"),
            *_flags(advertise_address="127.0.0.1", endpoint_reconciler_type="none"),
            *_flags(tls_cert_file=certificate, tls_private_key_file=key, client_ca_file=self.authority.certificate),
            *_flags(service_account_key_file=self.authority.token_key, service_account_issuer=self.server),
            *_flags(service_account_signing_key_file=self.authority.token_key),
            *_flags(service_cluster_ip_range="10.0.0.0/24", authorization_mode="Node,RBAC", allow_privileged="true"),
        )
        wait_until(self._is_ready, what="the API server", seconds=_START_SECONDS)

    def start_controllers(self) -> None:
        """Start controller manager and scheduler, which is all that garbage collection, namespaces and placement need."""
        common = _flags(kubeconfig=self.admin.kubeconfig, leader_elect="false", secure_port=0)
        # The usual 20 requests a second spread the start of all controllers over five seconds.
        common += _flags(kube_api_qps=500, kube_api_burst=1000)
        self._run(
            "kube-controller-manager",
            *common,
            *_flags(service_account_private_key_file=self.authority.token_key, root_ca_file=self.authority.certificate),
            # No kubelet renews the nodes' leases here: they would all be given up as lost.
            *_flags(use_service_account_credentials="true", controllers="*,-node-lifecycle-controller"),
        )
        self._run("kube-scheduler", *common, *_flags(authentication_kubeconfig="", authorization_kubeconfig=""))

    def install_crds(self) -> None:
        """Apply ``crds/`` and wait until the API server serves them."""
        self.kubectl("apply", "--server-side", "-f", str(CRDS))
        self.kubectl("wait", "--for=condition=Established", "--timeout=120s", "-f", str(CRDS))
        # What kubectl has read of the server's kinds so far lacks ours, and it keeps that for hours.
        shutil.rmtree(self.folder / "kubectl", ignore_errors=True)
        shown = ("get", "studies,trials", "--all-namespaces")
        wait_until(lambda: self.kubectl(*shown, check=False).returncode == 0, what="kubectl to know studies and trials")
        with self.client() as client:
            wait_until(lambda: _explains_them(client), what="the server to explain studies and trials")

    def stop(self, *names: str) -> None:
        """Kill the programs of these names, or all; what the folder holds stays, so that they can start again."""
        for name in names or reversed(list(self.processes)):
            self.processes.pop(name).stop(SIGKILL)

    def user(self, name: str, groups: Sequence[str] = ()) -> Access:
        """Return access for a user in *groups*, without any right that RBAC does not give: for programs of their own."""
        return self.authority.admit(self.server, name, groups)

    def kubectl(
        self, *arguments: str, access: Access | None = None, text: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl.

        Args:
            arguments: Its command line.
            access: Who asks; the admin if not given.
            text: Its standard input.
            check: Whether a failure raises.

        Raises:
            RuntimeError: If it fails and *check* holds, with what it printed.
        """
        where = ("--kubeconfig", str((access or self.admin).kubeconfig), "--cache-dir", str(self.folder / "kubectl"))
        command = [str(find_program("kubectl")), *where, *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done

    @contextmanager
    def client(self, *, acting: str = "", groups: Sequence[str] = ()) -> Iterator[Client]:
        """Give the admin's connection, who acts as somebody in *groups* if *acting* names one."""
        client = Client(self.admin, acting=acting, groups=groups)
        try:
            yield client
        finally:
            client.close()

    def _run(self, name: str, *flags: str) -> None:
        self.processes[name] = Process.start(name, flags, folder=self.folder)

    def _is_ready(self) -> bool:
        for name in ("etcd", "kube-apiserver"):
            self.processes[name].check()
        with suppress(OSError), self.client() as client:
            return client.get("/readyz").is_accepted
        return False


def _explains_them(client: Client) -> bool:
    answer = client.get("/openapi/v3/apis/seatrial.dev/v1alpha1")
    schemas = answer.body.get("components", {}).get("schemas", {})
    return {f"dev.seatrial.v1alpha1.{kind}" for kind in ("Study", "Trial")} <= schemas.keys()


def _await_garbage_collection(client: Client) -> None:
    """Return when the garbage collector has taken something away: it begins when it has read all there is."""
    maps = "/api/v1/namespaces/default/configmaps"
    wait_until(lambda: client.get("/api/v1/namespaces/default").is_accepted, what="the first namespace")
    gone = {"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "00000000-0000-4000-8000-000000000000"}
    body = {"metadata": {"name": "of-nobody", "ownerReferences": [gone]}}
    assert client.create(maps, body).is_accepted
    wait_until(lambda: client.get(f"{maps}/of-nobody").code == 404, what="the garbage collector")


@contextmanager
def run_control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Start a control plane whose files lie in *folder*, and stop it at the end."""
    prepare_programs()
    for attempt in range(_ATTEMPTS):
        plane = ControlPlane.create(folder / str(attempt))
        try:
            try:
                plane.start()
            except RuntimeError as error:
                # Another process may take a port between the choice and its use.
                if "address already in use" not in str(error) or attempt == _ATTEMPTS - 1:
                    raise
                continue
            yield plane
            return
        finally:
            plane.stop()


def _serve() -> None:
    """Run a control plane until Ctrl-C, to look at by hand."""
    with tempfile.TemporaryDirectory(prefix="seatrial-") as folder, run_control_plane(Path(folder)) as plane:
        print(f"export KUBECONFIG={plane.admin.kubeconfig}", flush=True)  # noqa: T201 - for a person
        with suppress(KeyboardInterrupt):
            while True:
                for process in plane.processes.values():
                    process.check()
                time.sleep(1)


if __name__ == "__main__":
    _serve()
