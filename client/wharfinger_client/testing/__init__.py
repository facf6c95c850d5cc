"""A daemon in memory for the tests of programs that use the client: no HSM, no process, no network.

    daemon = FakeDaemon()
    client = daemon.client()
    client.publish_targets("pypi", add=[Target(...)])
    assert daemon.targets["pypi"] == {...}

``FakeDaemon.client()`` is the real ``Client`` with all that it does: values become messages of the contract and bytes
and back, calls are made again as ``RetryPolicy`` says, errors come from the same table. Only the connection is
replaced. Pauses between attempts take no time. Both the fake and the real daemon pass the same contract suite.

The fake publishes and reads targets, scans and reads scans, and answers for its health. It has no keys: signing,
metadata files, watching and the audit log are answered with UNIMPLEMENTED, which the client raises as ``ServerError``.
"""

from wharfinger_client.testing._daemon import BENIGN, Call, FakeDaemon, Judgement

__all__ = ["BENIGN", "Call", "FakeDaemon", "Judgement"]
