"""Ceremonies: how root, targets and ``bins`` get their next version, on machines that are never online.

    plan → draft, on top of the verified chain → staged → signatures, one by one → publication and printed record

``plan`` says what is wanted; ``chain`` verifies what is there, from the pinned root 1; ``draft`` makes the next
version; ``rules`` says what must be true of it, ``warnings`` what a person should think about, ``changes`` what it
changes, in words; ``staging`` is what is carried from signer to signer; ``signatures`` what they add; ``publication``
puts it together. Nothing here reads a file, a clock or a terminal: that is ``cli.ceremony``.
"""
