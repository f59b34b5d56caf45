"""Model histories: handhelds, their edits and a bad network, against the sans-IO core of the sync, from one seed."""
