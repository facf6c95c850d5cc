"""What keys and tokens may be called."""

from wharfinger_hsm.errors import UnsupportedItemError

MAX_LABEL_BYTES = 128


def check_label(label: str, max_bytes: int = MAX_LABEL_BYTES) -> None:
    """Raises `UnsupportedItemError` unless the label is 1 to `max_bytes` printable ASCII characters, no space outside.

    Tokens pad, truncate and compare anything else in ways of their own.
    """
    plain = label.isascii() and label.isprintable() and label == label.strip()
    if not plain or not 0 < len(label) <= max_bytes:
        raise UnsupportedItemError(
            f"{label[:MAX_LABEL_BYTES]!r} cannot be a label: use 1 to {max_bytes} printable ASCII characters, with no"
            " space at an end."
        )
