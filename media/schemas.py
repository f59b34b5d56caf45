"""What the media routes answer with."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from backend.core.enums import PhotoState
from media.evidence.rules import Code
from media.rules import Variant


class FailureView(BaseModel):
    """Why a photo cannot be used."""

    code: str = Field(examples=["photo_truncated"])
    text_zh: str = Field(examples=["照片不完整，请重新拍摄或重新选择"])
    text_en: str = Field(examples=["The photo is cut off; take or choose it again"])


class VariantView(BaseModel):
    """A cleaned copy that can be fetched at `href`."""

    variant: Variant
    mime: str = Field(examples=["image/jpeg"])
    width: int = Field(examples=[1600])
    height: int = Field(examples=[1200])
    size: int = Field(examples=[312_004])
    href: str = Field(examples=["/media/v1/photos/0198c3a0-0000-7000-8000-000000000001/large"])


class PhotoView(BaseModel):
    """A photo and where it stands. `taken_at` is what the file claims; `width` and `height` are upright."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "photo_id": "0198c3a0-0000-7000-8000-000000000001",
                "state": "processed",
                "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "size": 3_443_932,
                "mime": "image/jpeg",
                "width": 4000,
                "height": 3000,
                "taken_at": "2026-03-02T01:12:45Z",
                "placeholder": "LEHV6nWB2yk8pyo0adR*.7kCMdnj",
                "received": True,
                "failure": None,
                "variants": [],
            }
        }
    )

    photo_id: UUID
    state: PhotoState
    sha256: str
    size: int
    mime: str
    width: int | None
    height: int | None
    taken_at: datetime | None
    placeholder: str | None = Field(description="A BlurHash, to paint until a copy is here")
    received: bool = Field(description="True once the server has the whole photo: the device may delete its copy")
    failure: FailureView | None
    variants: list[VariantView]


class PhotosView(BaseModel):
    """The photos an entry names now."""

    photos: list[PhotoView]


class ReasonView(BaseModel):
    """One reason for a score, and what was measured. `weight` is what it took from the full score of 100."""

    code: Code
    weight: int = Field(examples=[60])
    measured: dict[str, Any] = Field(examples=[{"bits": 4, "older": 1, "by_another": True}])
    text_zh: str = Field(examples=["与更早记录的照片几乎相同"])
    text_en: str = Field(examples=["Nearly the photo of an older entry"])


class EvidenceView(BaseModel):
    """How far a photo bears out the entry at `source_version`, from 0 to 100. For a person to weigh, no verdict."""

    score: int = Field(examples=[40])
    source_version: int = Field(examples=[1])
    rule_version: int = Field(examples=[1])
    assessed_at: datetime
    reasons: list[ReasonView]


class AssessedPhotoView(BaseModel):
    """A photo, and beside it how far it bears out the entry; absent until it was assessed."""

    photo: PhotoView
    evidence: EvidenceView | None


class AssessedPhotosView(BaseModel):
    """The photos an entry names now, assessed."""

    photos: list[AssessedPhotoView]


class ExpectedPhotoView(BaseModel):
    """One photo a record names. `state` is `expected` also for one the server has never heard of, without a `href`.

    `href` leads to this very photo, also where another account has used its id for another one.
    """

    photo_id: UUID
    state: PhotoState
    failure: FailureView | None
    href: str | None = Field(examples=["/media/v1/photos/0198c3a0-0000-7000-8000-000000000001"])


class CompletenessView(BaseModel):
    """How many photos the record names now, and what became of them; `received` counts all that arrived whole."""

    expected: int = Field(examples=[3])
    received: int = Field(examples=[2])
    processed: int = Field(examples=[1])
    failed: int = Field(examples=[1])
    complete: bool = Field(examples=[False])
    photos: list[ExpectedPhotoView]


class FailureCountView(BaseModel):
    """How many photos failed for one reason."""

    failure: FailureView
    count: int = Field(examples=[2])


class AwaitedPhotoView(BaseModel):
    """A photo that a record named and that has not come whole; `named_at` is when the record was pushed."""

    photo_id: UUID
    named_at: datetime


class UploadingView(BaseModel):
    """Uploads that were begun and are not finished: of `bytes` in all, `safe_bytes` are on disk."""

    uploads: int = Field(examples=[2])
    safe_bytes: int = Field(examples=[3_145_728])
    bytes: int = Field(examples=[8_388_608])


class DeviceCompletenessView(BaseModel):
    """What became of the photos a handheld named or brought; `awaited` are the oldest 200 that have not come."""

    device_id: UUID
    expected: int = Field(examples=[120])
    received: int = Field(examples=[118])
    processed: int = Field(examples=[115])
    failed: int = Field(examples=[1])
    complete: bool = Field(examples=[False])
    failures: list[FailureCountView]
    awaited: list[AwaitedPhotoView]
    uploading: UploadingView


class ReceivedView(BaseModel):
    """A photo that is here, whole and safe."""

    photo_id: UUID
    sha256: str
    received: bool = True
