"""The part of Kubernetes' object metadata that Seatrial reads; everything else passes through untouched."""

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from seatrial.api.base import Wire

__all__ = ["Metadata", "OwnerReference", "StudyMetadata"]


class OwnerReference(Wire):
    """Who owns an object: its deletion takes this one along."""

    model_config = ConfigDict(
        extra="ignore", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True
    )

    api_version: str = Field(description="Group and version of the owner.")
    kind: str = Field(description="Kind of the owner.")
    name: str = Field(description="Name of the owner.")
    uid: str = Field(description="UID of the owner.")
    controller: bool | None = Field(default=None, description="Whether the owner is the managing controller.")


class Metadata(Wire):
    """Standard object metadata."""

    # The API server adds fields of its own (managedFields, selfLink, …): ignored, never refused.
    model_config = ConfigDict(
        extra="ignore", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True
    )

    name: str = Field(
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="Name of the object: lower-case letters, digits and dashes, at most 63 characters.",
    )
    namespace: str | None = Field(default=None, max_length=63, description="Namespace of the object.")
    uid: str | None = Field(default=None, description="Unique identity, given by the server.")
    generation: int | None = Field(default=None, description="Counts the changes of the specification.")
    resource_version: str | None = Field(default=None, description="Opaque version of the object.")
    creation_timestamp: str | None = Field(default=None, description="When the object was created, RFC 3339.")
    deletion_timestamp: str | None = Field(default=None, description="Set when the object is being deleted.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations.")
    owner_references: list[OwnerReference] = Field(default_factory=list, description="Owners.")


class StudyMetadata(Metadata):
    """Standard object metadata of a Study."""

    name: str = Field(
        min_length=1,
        max_length=52,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="Name of the study: lower-case letters, digits and dashes, at most 52 characters so that the names of trials and Pods fit in 63.",
    )
