"""Where the checkpoints of a study lie and which of them stay."""

from pydantic import Field

from seatrial.api.base import Wire

__all__ = ["CHECKPOINTS_VOLUME", "FLEETING_VOLUMES", "Checkpoints"]

CHECKPOINTS_VOLUME = "checkpoints"
"""A volume of this name in the template, mounted by the training container, holds the checkpoints of all trials on a cluster."""

FLEETING_VOLUMES = ("emptyDir", "ephemeral")
"""Kinds of volumes that end with their Pod."""


class Checkpoints(Wire):
    """Where the checkpoints of a study lie and which of them stay."""

    url: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        pattern=r"^[a-z][a-z0-9+.-]*://[^/?#@\s]*(/[^?#\s]*)?$",
        description="Where they lie in an object store, s3://bucket/prefix: any scheme that fsspec knows, its package in the trial's image, "
        "credentials in the template's env. Default: the volume named checkpoints on a cluster, the study's directory on a laptop.",
    )
    keep_best: int | None = Field(
        default=None,
        ge=0,
        le=10_000,
        description="Of ended trials only the checkpoints of this many best ones, of the winner and of those that a trial may still start "
        "from are kept. Default: the last checkpoint of every trial.",
    )
