"""The daemon: signing, metadata and scanning behind gRPC and HTTP.

The packages are layers, and arrows point down (import-linter proves it):

    cli -> lifecycle -> bootstrap -> rpc | http -> storage | sandbox | custody | checks
        -> signing | metadata | scanning -> config | telemetry | errors | clock | canonical

Only ``bootstrap`` chooses implementations. The domain packages ``signing``, ``metadata`` and ``scanning`` know no
framework, no wire message and no token: each declares the ports that it needs as Protocols beside their user.
"""
