"""What stops a backup or a restore, in words for the person at the terminal."""


class BackupError(Exception):
    """A backup or restore that cannot go on. The text says what to do, Chinese first; it holds no personal data."""

    def __init__(self, chinese: str, english: str) -> None:
        super().__init__(f"{chinese} · {english}")
