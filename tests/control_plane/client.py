"""JSON to and from an API server over one kept connection: what kubectl takes 100 ms for takes some milliseconds here."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from control_plane.access import Access
from seatrial.adapters.kubernetes.reading import read_json

__all__ = ["STUDIES", "TRIALS", "Answer", "Client"]

STUDIES = "/apis/seatrial.dev/v1alpha1/namespaces/{namespace}/studies"
TRIALS = "/apis/seatrial.dev/v1alpha1/namespaces/{namespace}/trials"

# Rules that compare the largest of everything take a second of a core, of which a full machine gives a twentieth.
_TIMEOUT_SECONDS = 150
# The server keeps an idle connection for longer than that.
_IDLE_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API server said: an HTTP status code and a JSON object."""

    code: int
    body: dict[str, Any]

    @property
    def is_accepted(self) -> bool:
        """Whether the request was carried out."""
        return self.code < 300

    @property
    def message(self) -> str:
        """The API server's words about a refusal."""
        return str(self.body.get("message", ""))

    @property
    def causes(self) -> list[tuple[str, str]]:
        """Field and message of each cause of a refusal."""
        causes = (self.body.get("details") or {}).get("causes") or []
        return [(cause.get("field", ""), cause.get("message", "")) for cause in causes]


class Client:
    """One user's connection to an API server."""

    def __init__(self, access: Access, *, acting: str = "", groups: Sequence[str] = ()) -> None:
        """Prepare a connection; the first request opens it.

        Args:
            access: Who connects.
            acting: As whom, as ``kubectl --as`` has it; empty is themselves.
            groups: The groups of whom they act as, as ``kubectl --as-group`` has them.
        """
        self._acting = [("Impersonate-User", acting)] if acting else []
        self._acting += [("Impersonate-Group", group) for group in groups]
        context = ssl.create_default_context(cafile=str(access.authority))
        context.load_cert_chain(str(access.certificate), str(access.key))
        self._connection = http.client.HTTPSConnection(
            urlsplit(access.server).netloc, context=context, timeout=_TIMEOUT_SECONDS
        )
        self._heard = time.monotonic()

    def request(
        self, method: str, path: str, body: object = None, *, kind: str = "application/json", **query: str
    ) -> Answer:
        """Send *body* as JSON and return the answer, whatever its code.

        Args:
            method: GET, POST, PUT, PATCH or DELETE.
            path: Absolute path of the resource.
            body: Anything that JSON can hold, or bytes as they are to be sent.
            kind: Content type; a patch says by it how it is meant.
            query: Parameters of the address.
        """
        address = f"{path}?{urlencode(query)}" if query else path
        headers = http.client.HTTPMessage()  # a name may be there twice
        for name, value in (("Content-Type", kind), ("Accept", "application/json"), *self._acting):
            headers.add_header(name, value)
        written = body if body is None or isinstance(body, bytes) else json.dumps(body)
        if time.monotonic() - self._heard > _IDLE_SECONDS:
            # The server may have closed it meanwhile, which only shows when something has been sent; the next request opens it anew.
            self._connection.close()
        try:
            self._connection.request(method, address, written, headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except BaseException:
            # In the middle of a request it would take no other one.
            self._connection.close()
            raise
        self._heard = time.monotonic()
        body: Any = read_json(content) if content[:1] == b"{" else {"message": content.decode()}
        return Answer(code=answer.status, body=body)

    def create(self, path: str, body: object, **query: str) -> Answer:
        """Create an object as ``kubectl create`` does: unknown and doubled fields are refused."""
        return self.request("POST", path, body, fieldValidation="Strict", **query)

    def get(self, path: str, **query: str) -> Answer:
        """Read an object, a list, or a path such as /readyz."""
        return self.request("GET", path, **query)

    def merge(self, path: str, change: object, **query: str) -> Answer:
        """Apply a merge patch: fields given are set, null removes."""
        return self.request(
            "PATCH", path, change, kind="application/merge-patch+json", fieldValidation="Strict", **query
        )

    def delete(self, path: str, **query: str) -> Answer:
        """Delete an object."""
        return self.request("DELETE", path, **query)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
