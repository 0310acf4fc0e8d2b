"""Cores and GPUs of this machine, shared among trials and never over-committed.

A trial that names no cores is like a Pod without a request: it never waits for one, and is told the share of cores that fits the
number of parallel trials. GPUs are whole and exclusive.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from seatrial.adapters.local.container import Demand

__all__ = ["Ledger", "Machine", "Share", "parse_gpu_list", "read_machine"]

_SMI_TIMEOUT_SECONDS = 20.0
_UUID = re.compile(r"^(\s*)(GPU|MIG) .*\(UUID: ([^)]+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What there is to share.

    Attributes:
        gpus: Each as ``CUDA_VISIBLE_DEVICES`` names it.
    """

    cores: int
    memory_bytes: int
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one attempt holds.

    Attributes:
        cpus: Cores that it asked for; 0 when it named none.
    """

    cpus: float = 0.0
    gpus: tuple[str, ...] = ()


class Ledger:
    """Who holds what.

    Args:
        machine: What there is.
        ignore_gpus: Whether demands for GPUs are waived: such trials run on the CPU and see no GPU.
    """

    def __init__(self, machine: Machine, *, ignore_gpus: bool = False) -> None:
        self._machine = machine
        self._ignore_gpus = ignore_gpus
        self._held: dict[str, Share] = {}

    def take(self, holder: str, demand: Demand) -> Share | str:
        """Give *holder* its share, or say what is missing, as Kubernetes would: ``Insufficient cpu: …``."""
        gpus = 0 if self._ignore_gpus else demand.gpus
        # A machine that is too small runs the trial alone on all cores: slower beats never.
        cpus = min(demand.cpus or 0.0, float(self._machine.cores))
        free_cpus = self._machine.cores - sum(share.cpus for share in self._held.values())
        taken = {gpu for share in self._held.values() for gpu in share.gpus}
        free_gpus = [gpu for gpu in self._machine.gpus if gpu not in taken]
        if gpus > len(self._machine.gpus):
            return f"Insufficient nvidia.com/gpu: {gpus} asked for, this machine has {len(self._machine.gpus)}; run it without GPUs (--no-gpu) or ask for fewer"
        if gpus > len(free_gpus):
            return f"Insufficient nvidia.com/gpu: {gpus} asked for, {len(free_gpus)} of {len(self._machine.gpus)} free"
        if cpus > free_cpus + 1e-9:
            return f"Insufficient cpu: {cpus:g} asked for, {free_cpus:g} of {self._machine.cores} free"
        share = Share(cpus=cpus, gpus=tuple(free_gpus[:gpus]))
        self._held[holder] = share
        return share

    def hold(self, holder: str, share: Share) -> None:
        """Note what an attempt from before already holds."""
        self._held[holder] = share

    def free(self, holder: str) -> None:
        """Take back what *holder* holds."""
        self._held.pop(holder, None)


def read_machine(environment: Mapping[str, str]) -> Machine:
    """Look at this machine.

    Args:
        environment: Environment of the runner; its ``CUDA_VISIBLE_DEVICES`` limits the GPUs to share.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return Machine(cores=cores, memory_bytes=psutil.virtual_memory().total, gpus=_read_gpus(environment))


def _read_gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    given = environment.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return tuple(gpu for name in given.split(",") if (gpu := name.strip()) and gpu != "-1")
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(  # noqa: S603 - a fixed command
            [tool, "-L"], capture_output=True, text=True, timeout=_SMI_TIMEOUT_SECONDS, check=True
        )
        return parse_gpu_list(listed.stdout)
    return ()


def parse_gpu_list(listing: str) -> tuple[str, ...]:
    """Return the GPUs in the output of ``nvidia-smi -L`` by UUID; one that is cut into MIG devices counts as those."""
    found: list[tuple[str, list[str]]] = []
    for line in listing.splitlines():
        if matched := _UUID.match(line):
            if matched[2] == "GPU":
                found.append((matched[3], []))
            elif found:
                found[-1][1].append(matched[3])
    return tuple(device for gpu, parts in found for device in (parts or [gpu]))
