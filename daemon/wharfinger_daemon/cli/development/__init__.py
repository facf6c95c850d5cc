"""A development home: everything that a daemon needs, made on one machine, the root's keys included.

This is the only code that makes root keys on an online machine. It is for development and tests alone.
"""
