"""Cases: what needs action, from its opening by a verdict to its end."""
