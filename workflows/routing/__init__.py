"""Which queue and which registration standard an entry belongs to."""
