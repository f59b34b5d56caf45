"""The keys of a backup, which never lie beside it: values that tell right from wrong keys, and a file of their own.

Without the keys a backup cannot be read, and with them it can: so they are exported to another place, encrypted under
a passphrase (scrypt, RFC 7914; AES-256-GCM).
"""

import base64
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import SecretStr

from backend.backup.errors import BackupError
from backend.core.crypto import parse_master_keys
from backend.core.settings import Settings

SECRETS = ("master_keys", "index_key", "token_secret", "audit_key")
FORMAT = "zhiwang-keys-1"
MANIFEST_NAME = "MANIFEST.json"
SHORTEST_PASSPHRASE = 12
# 128 MiB and about half a second: a passphrase is guessed one try at a time.
SCRYPT = {"n": 2**17, "r": 8, "p": 1}
CHECK_BYTES = 12


def key_checks(settings: Settings) -> dict[str, str]:
    """A value for each key without which the data cannot be read, by `master:<version>` and `index`.

    It tells two keys apart and gives neither away: an HMAC under a random 256-bit key. `BackupError` where the
    settings hold no usable keys.
    """
    try:
        masters = parse_master_keys(settings.master_keys.get_secret_value())
        index = base64.b64decode(settings.index_key.get_secret_value(), validate=True)
    except ValueError as error:
        raise BackupError(
            "没有可用的密钥：请设置 MASTER_KEYS 与 INDEX_KEY", "no usable keys: set MASTER_KEYS and INDEX_KEY"
        ) from error
    named = {f"master:{version}": key for version, key in sorted(masters.items())} | {"index": index}
    return {name: _derived(key, f"check {name}")[:CHECK_BYTES].hex() for name, key in named.items()}


def wrong_keys(expected: dict[str, str], settings: Settings) -> list[str]:
    """The keys a backup needs that these settings lack or hold otherwise."""
    present = key_checks(settings)
    return [name for name, check in expected.items() if not hmac.compare_digest(present.get(name, ""), check)]


def require_keys(expected: dict[str, str], settings: Settings) -> None:
    """`BackupError` naming the keys that are not those of the backup."""
    wrong = wrong_keys(expected, settings)
    if wrong:
        names = ", ".join(wrong)
        raise BackupError(
            f"密钥与备份不符，未作任何改动（{names}）：请先用 backup open-keys 取回当时的密钥",
            f"the keys are not those of this backup, nothing was touched ({names}): "
            "get them back with `backup open-keys` first",
        )


def mac_key(settings: Settings) -> bytes:
    """What signs manifests. Whoever can change a backup but does not hold the keys cannot make a valid one."""
    return _derived(base64.b64decode(settings.index_key.get_secret_value(), validate=True), "manifest")


def export_keys(settings: Settings, *, to: Path, passphrase: str) -> list[str]:
    """Write the secrets that are set to a new file of mode 0600, and give their names.

    `BackupError` for a place inside a backup or the folder of backups, an existing file, or a short passphrase.
    """
    target = to.absolute()
    _require_elsewhere(target, settings)
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise BackupError(
            f"口令至少 {SHORTEST_PASSPHRASE} 个字符", f"the passphrase needs at least {SHORTEST_PASSPHRASE} characters"
        )
    values = _values(settings)
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    head = {"format": FORMAT, "scrypt": {**SCRYPT, "salt": _text(salt)}, "cipher": "AES-256-GCM", "nonce": _text(nonce)}
    cipher = AESGCM(_passphrase_key(passphrase, salt, SCRYPT))
    sealed = cipher.encrypt(nonce, json.dumps(values).encode(), _associated(head))
    write_new(target, json.dumps({**head, "sealed": _text(sealed)}, indent=2).encode())
    return sorted(values)


def open_keys(path: Path, *, passphrase: str) -> dict[str, str]:
    """The secrets of a key file by the names of their settings; `BackupError` for a wrong passphrase or file."""
    try:
        file = json.loads(path.read_bytes())
        head = {name: file[name] for name in ("format", "scrypt", "cipher", "nonce")}
        salt, nonce, sealed = _bytes(head["scrypt"]["salt"]), _bytes(head["nonce"]), _bytes(file["sealed"])
        costs = {name: int(head["scrypt"][name]) for name in SCRYPT}
        if head["format"] != FORMAT or costs != SCRYPT:
            raise ValueError(head["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError("这不是密钥文件", "this is no key file") from error
    try:
        plain = AESGCM(_passphrase_key(passphrase, salt, costs)).decrypt(nonce, sealed, _associated(head))
    except InvalidTag as error:
        raise BackupError("口令不对，或文件已损坏", "wrong passphrase, or a damaged file") from error
    values: dict[str, str] = json.loads(plain)
    return values


def new_file(path: Path) -> BinaryIO:
    """A file to write that was not there before and that only we can read. `BackupError` where there is one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise BackupError(f"文件已存在：{path}", f"there is such a file already: {path}") from error
    return os.fdopen(descriptor, "wb")


def write_new(path: Path, content: bytes) -> None:
    """Write a new file whole; it is on disk when this returns."""
    with new_file(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def backup_folder(settings: Settings) -> Path:
    """Where backups are kept unless a person says otherwise."""
    return Path(settings.backup_dir) if settings.backup_dir else settings.state_dir / "backups"


def _require_elsewhere(target: Path, settings: Settings) -> None:
    places = [target.resolve(), *target.resolve().parents]
    if backup_folder(settings).resolve() in places or any((place / MANIFEST_NAME).exists() for place in places):
        raise BackupError("密钥不能与备份放在一起，请另选位置", "keys never lie beside a backup: choose another place")


def _values(settings: Settings) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in SECRETS:
        value = getattr(settings, name, None)
        if isinstance(value, SecretStr) and value.get_secret_value():
            found[name.upper()] = value.get_secret_value()
    return found


def _derived(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, f"zhiwang backup {purpose}".encode(), "sha256")


def _passphrase_key(passphrase: str, salt: bytes, costs: dict[str, int]) -> bytes:
    return Scrypt(salt=salt, length=32, n=costs["n"], r=costs["r"], p=costs["p"]).derive(passphrase.encode())


def _associated(head: Mapping[str, object]) -> bytes:
    return json.dumps(head, sort_keys=True).encode()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _bytes(value: str) -> bytes:
    return base64.b64decode(value, validate=True)
