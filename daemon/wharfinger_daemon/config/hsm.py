"""Settings of the token with the online keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from wharfinger_daemon.config.section import Seconds, Section


class HsmSettings(Section):
    """The token with the online keys."""

    module: Path
    token_label: str
    pin_file: Path
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    call_timeout_seconds: Seconds = 10
    canary_key_label: str = "canary"
    canary_interval_seconds: Seconds = 5
    environment: dict[str, str] = Field(default_factory=dict)
