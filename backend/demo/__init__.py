"""The demo day: synthetic people, photos and outside services that play one day through the real API."""
