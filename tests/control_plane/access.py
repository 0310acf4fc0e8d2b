"""Who speaks to an API server: certificates by openssl, and the kubeconfig files that name them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Access", "Authority"]

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS = "7"


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One user's way to one API server.

    Attributes:
        server: Address, with scheme and port.
        authority: File of the certificate that signed the server's.
        certificate: File of the user's certificate.
        key: File of the user's key.
        kubeconfig: File that says all this to kubectl and to client libraries.
    """

    server: str
    authority: Path
    certificate: Path
    key: Path
    kubeconfig: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A certificate authority in a folder of its own."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Authority:
        """Make the authority's key and certificate, and a key for the tokens of service accounts."""
        folder.mkdir(parents=True, exist_ok=True)
        found = cls(folder=folder)
        subject = "/CN=seatrial-test-authority"
        _openssl(
            "req", "-x509", *_KEY, "-days", _DAYS, "-subj", subject, "-keyout", found._key, "-out", found.certificate
        )
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", found.token_key)
        return found

    @property
    def certificate(self) -> Path:
        """The authority's own certificate."""
        return self.folder / "ca.crt"

    @property
    def token_key(self) -> Path:
        """The key that signs the tokens of service accounts."""
        return self.folder / "tokens.key"

    @property
    def _key(self) -> Path:
        return self.folder / "ca.key"

    def sign(self, name: str, *, subject: str, extension: str) -> tuple[Path, Path]:
        """Return the files of a new certificate and its key.

        Args:
            name: Stem of both files.
            subject: For instance ``/O=group/CN=user``.
            extension: One line of openssl's extension file.
        """
        certificate, key, request, lines = (self.folder / f"{name}.{end}" for end in ("crt", "key", "csr", "ext"))
        lines.write_text(extension + "\n")
        _openssl("req", "-new", *_KEY, "-subj", subject, "-keyout", key, "-out", request)
        signer = ("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial")
        _openssl("x509", "-req", "-in", request, *signer, "-days", _DAYS, "-extfile", lines, "-out", certificate)
        return certificate, key

    def sign_server(self) -> tuple[Path, Path]:
        """Return certificate and key of a server on loopback."""
        return self.sign("server", subject="/CN=kube-apiserver", extension="subjectAltName=IP:127.0.0.1,DNS:localhost")

    def admit(self, server: str, user: str, groups: Sequence[str] = ()) -> Access:
        """Return access for *user* in *groups*; what they may do is for RBAC to say."""
        stem = "user-" + "".join(letter if letter.isalnum() else "-" for letter in user)
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
        certificate, key = self.sign(stem, subject=subject, extension="extendedKeyUsage=clientAuth")
        kubeconfig = self.folder / f"{stem}.kubeconfig"
        cluster = {"server": server, "certificate-authority": str(self.certificate)}
        person = {"client-certificate": str(certificate), "client-key": str(key)}
        # JSON is YAML.
        kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "clusters": [{"name": "test", "cluster": cluster}],
                    "users": [{"name": user, "user": person}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
                },
                indent=1,
            )
        )
        return Access(
            server=server, authority=self.certificate, certificate=certificate, key=key, kubeconfig=kubeconfig
        )
