"""Notices: an inbox for accounts, wake-ups through Firebase, messages to citizens through WeChat."""
