"""Many handhelds, a bad network and a server: model histories, the same against the real API, and real clients."""
