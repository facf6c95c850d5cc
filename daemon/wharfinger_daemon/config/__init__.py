"""The configuration: one TOML file, one typed tree, unknown keys refused, checked before anything starts.

Secrets are never values here, only paths to files. Relative paths are relative to the folder of the configuration file.
"""

from wharfinger_daemon.config.loading import load, parse
from wharfinger_daemon.config.settings import (
    CallerSettings,
    HsmSettings,
    Job,
    MetadataSettings,
    RepositorySettings,
    ScanSettings,
    Settings,
    SigningSettings,
)

__all__ = [
    "CallerSettings",
    "HsmSettings",
    "Job",
    "MetadataSettings",
    "RepositorySettings",
    "ScanSettings",
    "Settings",
    "SigningSettings",
    "load",
    "parse",
]
