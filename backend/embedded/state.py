"""The state folder of a local stack: who owns it, who runs in it, and the secrets made for it."""

import base64
import json
import os
import pwd
import secrets
from dataclasses import dataclass
from pathlib import Path

from backend.embedded.children import EmbeddedError, lock_file

PREVIOUS_RUN_SECONDS = 30.0

_ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
# The 43rd character carries four bits of the key; these are the ones whose two spare bits are zero.
_LAST_OF_43 = "AEIMQUYcgkosw048"


class AlreadyRunning(Exception):
    """Another stack uses the state folder. Carries the address it answers at."""

    def __init__(self, address: str, pid: int) -> None:
        super().__init__(f"already running at {address}")
        self.address = address
        self.pid = pid


def _random_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def new_secrets() -> dict[str, str]:
    """Fresh values for every secret a local stack needs, in the shapes the settings and WeChat take."""
    aes_key = "".join(secrets.choice(_ALPHANUMERIC) for _ in range(42)) + secrets.choice(_LAST_OF_43)
    return {
        "MASTER_KEYS": f"1:{_random_key()}",
        "INDEX_KEY": _random_key(),
        "TOKEN_SECRET": _random_key(),
        "AUDIT_KEY": _random_key(),
        "WECHAT_APP_ID": "wx" + secrets.token_hex(8),
        "WECHAT_TOKEN": secrets.token_hex(16),
        "WECHAT_ENCODING_AES_KEY": aes_key,
    }


@dataclass(frozen=True, slots=True)
class StateDir:
    """The folder everything of a local stack lives in."""

    path: Path

    @property
    def logs(self) -> Path:
        """Where each child writes its log."""
        return self.path / "logs"

    def make(self) -> None:
        """Make it, or refuse one of another account: its data and secrets would not be usable."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = self.path.stat().st_uid
        if owner != os.geteuid():
            raise EmbeddedError(
                f"状态目录属于另一个账户（{_account_name(owner)}）：请用该账户运行，或删除该目录，或设置 STATE_DIR · "
                f"the state folder belongs to another account ({_account_name(owner)}): run as that account, remove "
                f"the folder, or set STATE_DIR\n{self.path}"
            )
        # As root the account that PostgreSQL runs under passes through; what is private in here has modes of its own.
        self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
        self.logs.mkdir(mode=0o700, exist_ok=True)

    def lock(self, address: str) -> int:
        """Take the folder for this run and leave our address in the lock. `AlreadyRunning` if another run has it.

        After a kill -9 the guardian of that run keeps the lock until it has cleaned up: that is waited for.
        """
        path = self.path / "lock"
        descriptor = lock_file(path, seconds=0)
        if descriptor is None:
            pid, other = _read_lock(path)
            descriptor = None if _is_alive(pid) else lock_file(path, seconds=PREVIOUS_RUN_SECONDS)
            if descriptor is None:
                raise AlreadyRunning(other, pid)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "address": address}).encode())
        return descriptor

    def is_locked(self) -> bool:
        """Whether a run has the folder now."""
        if not (self.path / "lock").exists():
            return False
        descriptor = lock_file(self.path / "lock", seconds=0)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is None

    def secrets(self) -> dict[str, str]:
        """The secrets of this folder, made on first use; a later version's new ones are added."""
        known = self._read("secrets.json")
        complete = {**new_secrets(), **known}
        if complete != known:
            self._write("secrets.json", complete)
        return complete

    def keep_environment(self, values: dict[str, str]) -> None:
        """Leave the settings of this run's programs to `environment`."""
        self._write("environment.json", values)

    def environment(self) -> dict[str, str]:
        """The settings of the programs of the run that has the folder; empty where none was kept."""
        return self._read("environment.json")

    def _read(self, name: str) -> dict[str, str]:
        path = self.path / name
        values: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        return values

    def _write(self, name: str, values: dict[str, str]) -> None:
        """Write a file that only we can read, whole or not at all."""
        scratch = self.path / f"{name}.new"
        scratch.unlink(missing_ok=True)
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(values, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(self.path / name)


def _account_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _read_lock(path: Path) -> tuple[int, str]:
    try:
        noted = json.loads(path.read_text())
        return int(noted["pid"]), str(noted["address"])
    except (OSError, ValueError, KeyError):
        return 0, "?"


def _is_alive(pid: int) -> bool:
    """Whether the run that wrote the lock lives. One that has not written it yet (pid 0) is taken to live."""
    if pid == 0:
        return True
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return state != "Z"
