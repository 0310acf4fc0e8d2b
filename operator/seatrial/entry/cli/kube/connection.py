"""A user's connection to a cluster, and what its refusals mean: every error ends with a next step."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from seatrial.adapters.kubernetes.faults import ApiError, Forbidden, NotFound, Unauthorized
from seatrial.adapters.kubernetes.kubeconfig import read_login
from seatrial.adapters.kubernetes.user_client import UserClient
from seatrial.errors import TransientError, UsageError

__all__ = ["Connection", "Flags", "connected", "refusals_told"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the user said of the cluster.

    Attributes:
        namespace: None for the context's own.
        context: None for the current one.
        kubeconfig: None for the usual place.
    """

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    def words(self) -> tuple[str, ...]:
        """Return them as they are typed."""
        given = {"-n": self.namespace, "--context": self.context, "--kubeconfig": self.kubeconfig}
        return tuple(word for flag, value in given.items() if value for word in (flag, value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A connection to one cluster.

    Attributes:
        namespace: Where studies are looked for.
        context: Name of the context in use.
        server: Address of the API server.
        flags: As the user gave them, for commands that are to be typed next.
    """

    client: UserClient
    namespace: str
    context: str
    server: str
    flags: Flags


@asynccontextmanager
async def connected(flags: Flags) -> AsyncIterator[Connection]:
    """Give a connection; what the API server refuses inside is told as a :class:`UsageError` with a next step.

    Raises:
        UsageError: If there is no way to a cluster, or it refuses.
        TransientError: If it does not answer.
    """
    login = await read_login(flags.kubeconfig, flags.context)
    connection = Connection(
        client=UserClient(login.configuration),
        namespace=flags.namespace or login.namespace,
        context=login.context,
        server=login.server,
        flags=flags,
    )
    try:
        with refusals_told(connection):
            yield connection
    finally:
        await connection.client.close()


@contextmanager
def refusals_told(connection: Connection) -> Iterator[None]:
    """Tell what the API server refuses in words for the user."""
    where = f"the cluster of context {connection.context} ({connection.server})"
    try:
        yield
    except Unauthorized as error:
        raise UsageError(f"{where} does not know you: your credentials are refused; log in again") from error
    except Forbidden as error:
        raise UsageError(
            f"{error}; ask for the right to get, list and watch studies and trials of seatrial.dev and pods in namespace "
            f"{connection.namespace} (the chart adds it to the role view), or choose another by -n"
        ) from error
    except NotFound as error:
        raise UsageError(
            f"{where} knows no studies: Seatrial's kinds are not installed there; "
            "helm install seatrial charts/seatrial, or choose another cluster by --context"
        ) from error
    except ApiError as error:
        raise UsageError(f"{where} refuses: {error}") from error
    except TransientError as error:
        raise TransientError(
            f"{where} cannot be reached: {error}; see kubectl cluster-info, or choose another by --context"
        ) from error
