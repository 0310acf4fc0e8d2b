"""From settings to a running operator: finds the API server and turns how it ended into an exit status."""

import logging
from collections.abc import Awaitable, Callable

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from seatrial.adapters.kubernetes.client import ApiServerClient
from seatrial.adapters.local.clock import SystemClock
from seatrial.entry.cluster.process import Lost, Operator
from seatrial.entry.cluster.settings import OperatorSettings
from seatrial.entry.cluster.telemetry import Telemetry

__all__ = ["find_api_server", "serve"]

logger = logging.getLogger(__name__)


async def serve(settings: OperatorSettings) -> int:
    """Run the operator until it ends; return the exit status of the process."""
    try:
        configuration = await find_api_server()
    except (ConfigException, OSError) as error:
        logger.error("No API server is known", extra={"error": str(error)})  # noqa: TRY400 - no bug
        return 1
    telemetry = Telemetry()
    client = ApiServerClient(configuration, observer=telemetry.observe_call, agent="seatrial-operator")
    try:
        operator = Operator(settings, client, clock=SystemClock(), telemetry=telemetry)
        await operator.run()
    except Lost as error:
        logger.error("Operator has to start again", extra={"error": str(error)})  # noqa: TRY400 - no bug
        return 1
    finally:
        await client.close()
    return 0


async def find_api_server() -> Configuration:
    """Return where the API server is: inside a Pod its service account says, elsewhere kubectl's file."""
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except ConfigException:
        load: Callable[..., Awaitable[None]] = load_kube_config
        await load(client_configuration=configuration)
    return configuration
