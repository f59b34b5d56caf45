"""What the media room refuses, each with its stable code. Statuses are those tus 1.0 gives them where it does."""

from backend.core.errors import NotFound, TooLarge, TooManyRequests, ZhiwangError


class TusVersionUnsupported(ZhiwangError):
    code = "tus_version"
    status = 412
    title_zh = "上传协议版本不受支持"
    title_en = "Tus-Resumable must be 1.0.0"


class UploadHeaderInvalid(ZhiwangError):
    code = "upload_header"
    status = 400
    title_zh = "上传请求的头部信息缺失或不正确"
    title_en = "A header or form field of the upload is missing or cannot be read"


class UploadTypeInvalid(ZhiwangError):
    code = "upload_content_type"
    status = 415
    title_zh = "上传请求的内容类型不正确"
    title_en = "The content type of the upload is not the one expected"


class UploadGone(ZhiwangError):
    """Expired, or its bytes were lost; the client begins a new upload."""

    code = "upload_gone"
    status = 410
    title_zh = "上传已过期，请重新上传该照片"
    title_en = "The upload has expired; begin again"


class OffsetMismatch(ZhiwangError):
    code = "offset_mismatch"
    status = 409
    title_zh = "续传位置不一致，请查询后继续上传"
    title_en = "Another offset is expected; ask for it and continue there"


class UploadBusy(ZhiwangError):
    code = "upload_busy"
    status = 423
    title_zh = "该照片正在上传中，请稍后再试"
    title_en = "Another request is writing to this upload"


class UploadStalled(ZhiwangError):
    """What had arrived is kept."""

    code = "upload_stalled"
    status = 408
    title_zh = "网络中断，已保存收到的部分，请继续上传"
    title_en = "The body stopped coming; what arrived is kept, continue"


class UploadQuota(TooManyRequests):
    code = "upload_quota"
    title_zh = "上传数量已达上限，请先完成未传完的照片或稍后再试（请勿删除本机照片）"
    title_en = "Too much is being uploaded by this account; finish what was begun, keep the photos and try later"


class UploadTooLong(TooLarge):
    code = "upload_too_long"
    title_zh = "上传内容超过所声明的大小"
    title_en = "More bytes than declared"


class ChunkChecksumMismatch(ZhiwangError):
    """The bytes of this request are dropped; the upload goes on from where it was before."""

    code = "chunk_checksum_mismatch"
    status = 460
    title_zh = "传输内容校验失败，请重新发送该部分"
    title_en = "The checksum of this request does not match; send its bytes again"


class PhotoChecksumMismatch(ZhiwangError):
    """All bytes are here and are not the declared ones; they are dropped, and the upload with them."""

    code = "photo_checksum_mismatch"
    status = 460
    title_zh = "照片校验失败，请重新上传"
    title_en = "The photo's SHA-256 is not the declared one; upload it again"


class PhotoNotReady(NotFound):
    code = "photo_not_ready"
    title_zh = "照片尚未处理完成"
    title_en = "The photo has not been processed yet, or cannot be"


class RangeOutside(ZhiwangError):
    code = "range_outside"
    status = 416
    title_zh = "请求的范围超出文件大小"
    title_en = "The range lies outside the file"
