"""The product's nouns and doors (docs/adr/0001-layout.md)."""

__version__ = "0.1.0"
"""As in `pyproject.toml`; a test compares them."""
