"""Under which account a server runs, and what that account can reach.

PostgreSQL refuses to run as root. Root then lends it an account that exists anyway; none is ever made, and no
mode of a folder above ours is changed.
"""

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this machine that is not root."""

    name: str
    uid: int
    gid: int


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def lent_account(owned: Path) -> Account | None:
    """The account a server of ours runs as, or `None` when that is simply the one we run as.

    Data that exist keep the account they belong to, so an account added to the machine later changes nothing.
    """
    if os.geteuid() != 0:
        return None
    if owned.exists() and owned.stat().st_uid != 0:
        return _account(pwd.getpwuid(owned.stat().st_uid))
    for name in CANDIDATES:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    raise LookupError(f"none of the accounts {', '.join(CANDIDATES)} exists")


def succeeds_as(account: Account | None, arguments: Sequence[str | Path], *, seconds: float = 20) -> bool:
    """Whether a short command ends well under that account: the one honest test of what it can reach."""
    user, group = (account.uid, account.gid) if account else (None, None)
    try:
        done = subprocess.run(
            [os.fspath(part) for part in arguments],
            cwd="/",
            user=user,
            group=group,
            extra_groups=[] if account else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def can_enter(account: Account | None, folder: Path) -> bool:
    """Whether the account can use a folder by its full path."""
    return succeeds_as(account, ["/bin/sh", "-c", 'cd -- "$1"', "sh", folder])


def hand_over(path: Path, account: Account | None) -> None:
    """Make a path of ours belong to the account."""
    if account:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
