"""The conflict-aware sync API: a handheld's push and pull, and what the server makes of two edits that meet."""
