"""Verifies a published repository as a whole, from its files alone: what clients would refuse, and what they would not
see. Nothing here knows how it was made."""
