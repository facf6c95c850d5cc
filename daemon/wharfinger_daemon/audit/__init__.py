"""The audit log: every signature and every administrative act is a leaf of an RFC 6962 Merkle tree.

leaf.py      what a leaf says, and its bytes
merkle.py    the tree: hashes, and the frontier that grows with it
"""
