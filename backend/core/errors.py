"""The one root of all errors a caller may see, rendered as RFC 9457 problem+json by `backend.api.problems`.

Each subclass is one stable `code`. The texts are what a person reads: plain Chinese first, English second.
`docs/errors.md` lists every code; a test holds that list to the subclasses of `ZhiwangError`.
"""

from collections.abc import Iterator
from typing import Any, ClassVar


class ZhiwangError(Exception):
    """A refusal with a stable code. `status` is the HTTP status the edge answers with.

    `extra` values are shown to the caller, so they carry ids and limits, never personal data.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title_zh: ClassVar[str] = "系统内部错误，请稍后重试"
    title_en: ClassVar[str] = "Internal error, please try again later"

    def __init__(self, detail: str = "", *, retry_after: int | None = None, **extra: Any) -> None:
        super().__init__(detail or self.title_en)
        self.detail = detail
        self.retry_after = retry_after
        self.extra = extra


def all_errors(root: type[ZhiwangError] = ZhiwangError) -> Iterator[type[ZhiwangError]]:
    """Every error class the loaded modules define, the root first."""
    yield root
    for child in root.__subclasses__():
        yield from all_errors(child)


class Unauthenticated(ZhiwangError):
    code = "unauthenticated"
    status = 401
    title_zh = "登录已失效，请重新登录（本机数据不受影响）"
    title_en = "Log in again; data on this device is untouched"


class Forbidden(ZhiwangError):
    code = "forbidden"
    status = 403
    title_zh = "没有权限执行此操作"
    title_en = "This account may not do that"


class NotFound(ZhiwangError):
    """Also for objects that exist outside the caller's scope: a foreign id must not be told from an unknown one."""

    code = "not_found"
    status = 404
    title_zh = "没有找到，或不在您的管辖范围内"
    title_en = "Not found, or outside your scope"


class Malformed(ZhiwangError):
    """The payload cannot be read as what the route takes."""

    code = "malformed"
    status = 422
    title_zh = "提交内容的格式不正确"
    title_en = "The payload is malformed"


class BadRequest(ZhiwangError):
    """What came is no HTTP, or so broken that no route could look at it."""

    code = "bad_request"
    status = 400
    title_zh = "请求无法识别"
    title_en = "The request cannot be read"


class NotJson(ZhiwangError):
    code = "not_json"
    status = 400
    title_zh = "提交内容不是有效的 JSON"
    title_en = "The body is not JSON"


class TooLarge(ZhiwangError):
    code = "too_large"
    status = 413
    title_zh = "提交内容过大，请分批提交"
    title_en = "The body or batch is too large; split it"


class TooManyRequests(ZhiwangError):
    code = "rate_limited"
    status = 429
    title_zh = "操作过于频繁，请稍后再试"
    title_en = "Too many requests; try again later"


class PreconditionFailed(ZhiwangError):
    """`If-Match` names a version that is no longer the current one."""

    code = "version_changed"
    status = 412
    title_zh = "内容已被他人更新，请刷新后再操作"
    title_en = "The object changed since it was read; read it again"


class PreconditionRequired(ZhiwangError):
    code = "version_required"
    status = 428
    title_zh = "缺少版本信息（If-Match），请刷新后再操作"
    title_en = "If-Match is required"


class Unavailable(ZhiwangError):
    """A fault on our side that passes; the caller keeps its data and repeats the call."""

    code = "unavailable"
    status = 503
    title_zh = "服务暂时不可用，请稍后重试（数据未丢失）"
    title_en = "Temporarily unavailable; keep the data and try again"
