"""The values of health."""

from __future__ import annotations

from enum import StrEnum


class ServingStatus(StrEnum):
    """What the daemon says of itself (``grpc.health.v1``)."""

    UNKNOWN = "unknown"
    SERVING = "serving"
    NOT_SERVING = "not_serving"
