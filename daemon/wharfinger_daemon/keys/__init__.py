"""The life of the keys that sign online roles, and the metadata that authorises them.

Keys succeed one another in lines (``lines``). A key moves through its life (``life_cycle``) only where the verified
metadata says so, by ``KeyAdministration`` (``administration``); each move is a row and a leaf of the log, written
together (``records``).
"""
