"""Bulk reconciliation: everything that was collected against a whole snapshot of a dataset (docs/reconciliation.md)."""
