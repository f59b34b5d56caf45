"""Verbs of the base nouns: what rooms and routes share. Functions take `session` first, the rest by keyword."""
