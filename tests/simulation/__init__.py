"""Real RxDB clients against the real API and PostgreSQL, over a network that loses, doubles and delays."""
