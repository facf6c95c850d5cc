"""Opens archives that nobody trusts, without ever writing to a disk, and reports what is odd in their structure.

Zip (wheels, eggs), tar, and gzip, bzip2, xz and zstd around them, by content; archives inside archives to a bounded
depth.

Rules of the anomalies:

    absolute-path              a name is absolute
    ambiguous-name             the name holds a NUL, or the Unicode path field gives another one
    bad-checksum               content does not match its checksum; it is examined all the same
    colliding-names            two members unpack to one name on Windows or macOS
    corrupt-data               compressed data is damaged
    corrupt-header             no tar header where one should be; tarfile takes it for the end
    device-member              a device, pipe or socket
    duplicate-member           two members unpack to one name
    encrypted-member           unread
    expansion-bomb             more unpacked bytes than the limits allow; nothing more is read
    link-disguise              a link gives content a name that is acted on (.py), which its own name is not
    link-escape                a link leads out of the archive
    link-member                a link; never followed
    member-too-large           unread
    nested-too-deep            an archive inside as many others as are opened; unread
    not-an-archive             the whole file is examined as one member
    oversized-header           a tar header too long to be honest; nothing more is read
    path-traversal             a name has a ``..`` component
    polyglot                   several archives at once; all are read
    prepended-data             bytes before a zip archive; examined as ``!prepended-data``
    tar-size-mismatch          header and pax record give a member two sizes
    too-many-members           nothing more is read
    trailing-data              bytes behind an archive; examined as ``!trailing-data``
    truncated-archive          the end is missing
    unreadable-archive         anything else that keeps it from being read
    unsupported-compression    unread
    zip-entry-count-mismatch   the end record promises another number of entries
    zip-local-header-mismatch  the local header says otherwise than the directory
    zip-overlapping-members    members share bytes
    zip-size-mismatch          a member goes on after its declared size; examined as pip sees it, the surplus unread
    zip-unlisted-data          bytes between members; examined as ``!unlisted-data-N``, or behind the end of one's
                               compressed data; examined as ``!behind/NAME``

What an archive says beside its members is examined too: comments and unusual extra fields of zip as ``!comments``,
unusual pax records of tar as ``!pax-records``.
"""

from wharfinger_daemon.scanning.archives.artifact import Artifact, open_artifact
from wharfinger_daemon.scanning.archives.limits import ArchiveLimits
from wharfinger_daemon.scanning.archives.view import ArtifactUnreadableError

__all__ = ["ArchiveLimits", "Artifact", "ArtifactUnreadableError", "open_artifact"]
