"""A PEP 458 repository: targets in hash bins, published as signed metadata, and read back as clients get it.

    targets.py      what a target is, and what none may be
    bins.py         which bin lists a path
    documents.py    the exact bytes of bins, snapshot and timestamp
    planning.py     which versions a change leads to: the rules
    renewal.py      when roles are signed anew without a change
    retention.py    which files nobody uses any more
    ports.py        what publishing needs: records, a store, a signer
    completion.py   from a prepared publication to what clients see
    waiting.py      changes that wait together and share one publication
    repository.py   one repository: finish, publish, renew
    publisher.py    the task that does so, for callers and by the clock
    published.py    what the published metadata says
    reading.py      answers to those who read
    ceremony.py     the offline metadata of a development repository; ceremony_keys.py its keys

Everything here is pure but for the ports. ``memory_store.py`` and ``memory_signer.py`` implement two of them in memory.
"""
