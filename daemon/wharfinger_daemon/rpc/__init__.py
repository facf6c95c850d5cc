"""The gRPC edge: translates between wire messages and the domain, and decides nothing.

``gate`` stands before every RPC, and ``passage`` is one call's way through it: who calls, may they, is there room and
time; it also logs, counts and turns errors into statuses. ``status`` is the one table from errors to gRPC codes. Each
service has one module.
"""
