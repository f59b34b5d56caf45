"""What the person at the terminal sees of the stack: short lines, plain Chinese first, English second.

A terminal that went away never stops the stack: what cannot be shown is dropped.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

SHOW_SECONDS_AFTER = 2.0


class Step:
    """A long step in progress; on a real terminal the seconds count up in place."""

    def __init__(self, terminal: "Terminal", label: str) -> None:
        self.began = time.monotonic()
        self._terminal = terminal
        self._label = label
        self._shown = 0

    def tick(self) -> None:
        """Called now and then while the step runs."""
        seconds = int(time.monotonic() - self.began)
        if seconds >= SHOW_SECONDS_AFTER and seconds != self._shown and self._terminal.is_live:
            self._shown = seconds
            self._terminal.write(Text(f"\r… {self._label} {seconds} s"), end="")


class Terminal:
    """Writes to the standard output."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)

    @property
    def is_live(self) -> bool:
        """Whether a line can be written again in place."""
        return self._console.is_terminal

    def write(self, text: Text | Rule, end: str = "\n") -> None:
        """Show something, if anybody can see it."""
        with suppress(OSError, ValueError):
            self._console.print(text, end=end)

    def line(self, zh: str, en: str) -> None:
        """One line that something begins or has ended."""
        self.write(Text(f"… {zh} · {en}"))

    def problem(self, text: str) -> None:
        """Something a person should know or act on."""
        self.write(Text(f"✗ {text}", style="bold red"))

    def rule(self, title: str = "") -> None:
        """A line across, with a title in it."""
        self.write(Rule(Text(title, style="bold green"), style="green"))

    def pair(self, label: str, value: str) -> None:
        """A labelled value."""
        self.write(Text.assemble((f"{label}: ", "bold"), value))

    @contextmanager
    def step(self, zh: str, en: str) -> Iterator[Step]:
        """A step with its time; one that raises leaves no tick."""
        step = Step(self, f"{zh} · {en}")
        if self.is_live:
            self.write(Text(f"… {zh} · {en}"), end="")
        yield step
        seconds = time.monotonic() - step.began
        self.write(Text.assemble("\r" if self.is_live else "", ("✓", "green"), f" {zh} · {en} ({seconds:.1f} s)"))
