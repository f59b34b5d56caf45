"""Where the embedded servers keep their sockets, data and binaries.

Every name is derived from the data folder, so whatever an unclean end leaves behind is found and used again by the
next start instead of piling up.
"""

import importlib.util
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from backend.embedded.accounts import Account, hand_over
from backend.embedded.children import EmbeddedError

SOCKET_PATH_LIMIT = 107
SHARED_DATA = Path("/var/lib/zhiwang")
SHARED_CACHE = Path("/var/cache/zhiwang")


def short_name(data_dir: Path) -> str:
    """A short fixed name for a data folder."""
    return sha256(os.fsencode(data_dir)).hexdigest()[:12]


def _sockets_root() -> Path:
    shared = Path("/tmp")  # noqa: S108 - the folder made in it is private and its owner is checked
    return shared if os.access(shared, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def socket_dir(kind: str, data_dir: Path) -> Path:
    """The name of the private folder for a server's socket; short, whatever the data folder is called."""
    return _sockets_root() / f"zhiwang-{kind}-{short_name(data_dir)}"


def make_private(folder: Path, account: Account | None, *, longest_name: str) -> None:
    """Make or take over a folder that only its server's account can enter.

    `EmbeddedError` where somebody else made a file of that name first, or where the socket's path would be too long.
    """
    if len(os.fsencode(folder / longest_name)) > SOCKET_PATH_LIMIT:
        raise EmbeddedError(f"套接字路径过长 · the socket path is too long: {folder / longest_name}")
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    allowed = {os.geteuid(), account.uid if account else os.geteuid()}
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in allowed:
        raise EmbeddedError(f"该路径被其他账户占用，请删除后重试 · another account owns this path, remove it: {folder}")
    hand_over(folder, account)
    folder.chmod(0o700)


def clear_folder(folder: Path) -> None:
    """Remove a socket folder that `make_private` checked, with the sockets and lock files in it."""
    with suppress(OSError):
        if folder.is_symlink():
            return
        for entry in folder.iterdir():
            entry.unlink()
        folder.rmdir()


def package_folder(package: str) -> Path | None:
    """The folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    found = list(spec.submodule_search_locations or []) if spec else []
    return Path(found[0]) if found else None


def copy_once(sources: list[Path], name: str) -> Path:
    """A folder every account can read, holding copies of `sources`; made on first use and then used again."""
    target = SHARED_CACHE / name
    if target.is_dir():
        return target
    SHARED_CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".copy-", dir=SHARED_CACHE))
    try:
        for source in sources:
            shutil.copytree(source, scratch / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        _open_for_reading(scratch)
        # Another process may have made the same copy meanwhile: either is good, the first one stays.
        with suppress(OSError):
            scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _open_for_reading(folder: Path) -> None:
    for place, _, files in os.walk(folder):
        Path(place).chmod(0o755)
        for name in files:
            path = Path(place, name)
            path.chmod(path.stat().st_mode | 0o444 | (path.stat().st_mode & 0o100 and 0o111))


@contextmanager
def throwaway_dir() -> Iterator[Path]:
    """A folder for the data of a test's servers that a lent account can pass through, removed at the end.

    The folders pytest hands out are closed to other accounts, so as root the data would have to live elsewhere.
    """
    folder = Path(tempfile.mkdtemp(prefix="zhiwang-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
