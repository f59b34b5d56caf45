"""Servers shipped in wheels, started and watched by ourselves: for development, the demo and tests.

Nothing of the product imports this package but `backend.dev`; production sets `DATABASE_URL` and `BROKER_URL`.
"""
