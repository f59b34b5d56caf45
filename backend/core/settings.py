"""Every setting of the product, read from the environment (or `.env`) once.

`.env.example` explains each one to the people who deploy; a test holds that file to this class.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

from limits import parse
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from backend.core.enums import ReconcileEngine
from backend.core.secrets_check import database_faults, secret_faults

PROJECT_ROOT = Path(__file__).resolve().parents[2]

OWN_SECRETS = ("master_keys", "index_key", "token_secret", "audit_key")
"""Production starts with none of these missing, short, typed by a person, or used twice."""
SHARED_SECRETS = ("wechat_token", "wechat_app_secret", "wechat_encoding_aes_key")
"""Agreed with an outside service: may be empty."""
DATABASES = ("database_url", "worker_database_url", "migration_database_url")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Settings(BaseSettings):
    """Values as the environment gives them; secrets are never defaulted outside the embedded stack.

    `backend.dev` fills the addresses of the embedded servers and the generated secrets into the environment of
    its children, so every process reads its settings in this one way.
    """

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True)

    environment: Literal["development", "test", "production"] = "development"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    public_url: str = ""
    state_dir: Path = PROJECT_ROOT / ".zhiwang"

    database_url: str = Field(default="", repr=False)
    worker_database_url: str = Field(default="", repr=False)
    migration_database_url: str = Field(default="", repr=False)
    broker_url: str = Field(default="", repr=False)
    media_url: str = ""
    media_address_seconds: int = Field(default=300, ge=0, le=3600)
    pg_bindir: str = ""
    admin_database_url: str = ""
    backup_dir: str = ""
    backup_media: Literal["copy", "link", "manifest"] = "copy"
    wal_archive: str = ""

    master_keys: SecretStr = SecretStr("")
    index_key: SecretStr = SecretStr("")
    token_secret: SecretStr = SecretStr("")
    cipher: Literal["aes-siv", "sm4-gcm"] = "aes-siv"
    index_hash: Literal["sha256", "sm3"] = "sha256"

    audit_key: SecretStr = SecretStr("")
    audit_anchor: str = ""
    audit_days: int = Field(default=365, ge=183)
    audit_seal_seconds: float = Field(default=5.0, gt=0, le=60)

    access_token_seconds: int = Field(default=600, ge=60, le=600)
    refresh_token_days: int = Field(default=30, ge=1)
    enrolment_code_minutes: int = Field(default=60, ge=1)
    office_session_hours: int = Field(default=12, ge=1)
    totp_required: Literal["auto", "true", "false"] = "auto"
    password_min_length: int = Field(default=12, ge=8, le=128)
    password_max_age_days: int = Field(default=0, ge=0)
    password_history: int = Field(default=5, ge=1, le=24)
    temporary_password_hours: int = Field(default=72, ge=1)
    max_batch_rows: int = Field(default=500, ge=1)
    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    max_photo_bytes: int = Field(default=25 * 1024 * 1024, ge=1024)
    max_photo_pixels: int = Field(default=50_000_000, ge=1)
    max_import_bytes: int = Field(default=256 * 1024 * 1024, ge=1024)
    import_folder: str = ""
    import_quiet_seconds: float = Field(default=60.0, ge=0)
    import_keep_days: int = Field(default=7, ge=0)
    import_sources: SecretStr = SecretStr("")
    max_open_uploads: int = Field(default=200, ge=1)
    max_upload_bytes_per_day: int = Field(default=8 * 1024**3, ge=1024)
    min_free_bytes: int = Field(default=256 * 1024 * 1024, ge=0)

    body_stall_seconds: float = Field(default=20.0, gt=0)
    body_seconds: float = Field(default=120.0, gt=0)
    upload_seconds: float = Field(default=3600.0, gt=0)
    max_connections: int = Field(default=800, ge=1)
    max_connections_per_address: int = Field(default=400, ge=1)
    max_streams: int = Field(default=300, ge=0)
    stream_heartbeat_seconds: float = Field(default=15.0, gt=0, le=60)
    stream_seconds: float = Field(default=600.0, gt=0)
    rate_login: str = "300/minute"
    rate_refresh: str = "3000/minute"
    rate_anonymous: str = "1200/minute"
    rate_calls: str = "1200/minute"
    rate_sync: str = "3000/minute"
    rate_sensitive: str = "120/minute"

    job_lease_seconds: int = Field(default=30, ge=3)
    job_max_attempts: int = Field(default=5, ge=1)
    sweep_seconds: float = Field(default=5.0, gt=0)
    worker_concurrency: int = Field(default=2, ge=1)

    wechat_app_id: str = ""
    wechat_token: SecretStr = SecretStr("")
    wechat_encoding_aes_key: SecretStr = SecretStr("")
    wechat_app_secret: SecretStr = SecretStr("")
    wechat_api_url: str = "https://api.weixin.qq.com"
    wechat_window_seconds: int = Field(default=300, ge=1)
    report_window_seconds: int = Field(default=120, ge=1)

    firebase_credentials: str = ""

    erasure_ledger: Path | None = None
    export_max_rows: int = Field(default=10_000, ge=1)
    export_days: int = Field(default=7, ge=1)
    access_report_days: int = Field(default=7, ge=1)

    reconcile_engine: ReconcileEngine = ReconcileEngine.DUCKDB
    reconcile_memory: str = Field(default="1GB", pattern=r"^[1-9]\d{0,5}(MB|GB)$")
    reconcile_threads: int = Field(default=2, ge=1, le=256)
    reconcile_partition_rows: int = Field(default=50_000, ge=1)
    reconcile_spark_master: str = "local[2]"

    outbound_hosts: str = ""

    demo: bool = True
    seed_scale: float = Field(default=1.0, gt=0, le=1)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"

    @field_validator("rate_login", "rate_refresh", "rate_anonymous", "rate_calls", "rate_sync", "rate_sensitive")
    @classmethod
    def _is_rate(cls, value: str) -> str:
        parse(value)
        return value

    @model_validator(mode="after")
    def _fit_for_production(self) -> Self:
        """Every fault in one message, by the name of its setting; a value is never repeated."""
        faults = list(self._production_faults()) if self.environment == "production" else []
        if faults:
            raise ValueError(f"production needs other settings: {'; '.join(faults)}")
        return self

    def _production_faults(self) -> Iterator[str]:
        yield from secret_faults(self._revealed(OWN_SECRETS), shared=self._revealed(SHARED_SECRETS))
        yield from database_faults({name.upper(): getattr(self, name) for name in DATABASES})
        if self.public_url and not self.public_url.startswith("https://"):
            yield "PUBLIC_URL must begin with https://"
        if self.log_level == "DEBUG":
            yield "LOG_LEVEL must not be DEBUG"
        if self.demo and not _is_loopback(self.host):
            yield "DEMO must be false where HOST is not a loopback address"

    def _revealed(self, names: Iterable[str]) -> dict[str, str]:
        return {name.upper(): getattr(self, name).get_secret_value() for name in names}

    def demo_accounts(self) -> bool:
        """Whether accounts with the published demo password may exist: nowhere others can reach them."""
        if not self.demo or self.environment == "production":
            return False
        return self.environment == "test" or _is_loopback(self.host)

    def needs_totp(self) -> bool:
        """Whether office accounts need a second factor: in production, unless the setting says otherwise."""
        if self.totp_required == "auto":
            return self.environment == "production"
        return self.totp_required == "true"

    def worker_url(self) -> str:
        """The database the worker logs in to; the API's own where no other is set."""
        return self.worker_database_url or self.database_url

    def migration_url(self) -> str:
        """The database Alembic logs in to, with the rights of an owner."""
        return self.migration_database_url or self.database_url

    def admin_url(self) -> str:
        """The database a restore logs in to: it makes and renames databases. The owner where no other is set."""
        return self.admin_database_url or self.migration_url()

    def anchor_path(self) -> Path:
        """The signed anchor of the audit trail, outside the database."""
        return Path(self.audit_anchor) if self.audit_anchor else self.state_dir / "trust" / "audit-anchor.jsonl"

    def media_location(self) -> str:
        """Where photographs are kept: an `s3://` or `file://` address."""
        return self.media_url or (self.state_dir / "media").as_uri()

    def erasure_ledger_file(self) -> Path:
        """The file that remembers who was erased, outside the database and its backups."""
        return self.erasure_ledger or self.state_dir / "trust" / "erasures.jsonl"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
