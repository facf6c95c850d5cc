"""Which store holds the metadata of a repository.

The one place that chooses: the daemon and every command open the store of a
repository here, so that all of them read and write the same one.
"""

from wharfinger_daemon.config.signing import RepositorySettings
from wharfinger_daemon.metadata.ports import MetadataStore
from wharfinger_daemon.storage.metadata_directory import MetadataDirectory


def open_store(repository: RepositorySettings) -> MetadataStore:
    """Return the store that the configuration names for `repository`.

    Nothing is created, locked or read: a store that does not exist fails when it is first used.
    """
    return MetadataDirectory(repository.metadata_directory)
