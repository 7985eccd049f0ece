"""The review house: where specialists look at synthetic patients, and officers decide what may leave (`synthgen serve`).

Nothing here reads a real patient. Everything that people do is written to one append-only log, in the same transaction as
what it changes.
"""
