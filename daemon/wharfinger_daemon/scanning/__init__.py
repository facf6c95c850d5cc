"""Scanning: what is examined, by what, and what is concluded.

``model`` holds the values, ``plugin`` the public interface of checks, ``archives`` opens what nobody trusts,
``engine`` runs checks over it (inside the sandbox), ``scorecard`` turns findings into a verdict, ``service`` is the
life of a scan, ``ports`` what the service needs of others.
"""
