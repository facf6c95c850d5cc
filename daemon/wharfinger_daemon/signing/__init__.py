"""Signing TUF metadata that is understood, for callers that may, once per version.

    service.py       the path that every signature takes
    examination.py   what is checked of one item before the ledger is asked
    facts.py         bytes to typed facts: strict JSON, canonical, structure
    trust.py         which keys the pinned root and its delegations authorise
    ledger.py        which versions may still be signed: the rules, and the port
    keys.py          public keys, and the port to the token that holds the private ones

Everything here is pure but for the ports ``MetadataSource`` (trust.py), ``Ledger`` (ledger.py) and ``TokenKeys``
(keys.py). ``memory_ledger.py`` and ``memory_keys.py`` implement the last two in memory.
"""
