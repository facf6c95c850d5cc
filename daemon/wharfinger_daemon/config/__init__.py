"""The configuration: one TOML file, one typed tree, unknown keys refused, checked before anything starts.

Secrets are never values here, only paths to files. Relative paths are relative to the folder of the configuration file.
"""

from wharfinger_daemon.config.caches import CachesSettings, FastlySettings, VarnishSettings
from wharfinger_daemon.config.hsm import HsmSettings
from wharfinger_daemon.config.loading import load, parse
from wharfinger_daemon.config.servers import CallerSettings, RateSettings
from wharfinger_daemon.config.settings import Job, MetadataSettings, ScanSettings, Settings
from wharfinger_daemon.config.signing import AuditSettings, KeyLineSettings, RepositorySettings, SigningSettings
from wharfinger_daemon.config.warnings import warnings

__all__ = [
    "AuditSettings",
    "CachesSettings",
    "CallerSettings",
    "FastlySettings",
    "HsmSettings",
    "Job",
    "KeyLineSettings",
    "MetadataSettings",
    "RateSettings",
    "RepositorySettings",
    "ScanSettings",
    "Settings",
    "SigningSettings",
    "VarnishSettings",
    "load",
    "parse",
    "warnings",
]
