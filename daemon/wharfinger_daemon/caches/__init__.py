"""Caches in front of the metadata, and how each is told to drop what is not current any more."""
