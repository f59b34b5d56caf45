"""Why a call of the WeChat hook is refused."""

from backend.core.errors import ZhiwangError


class WechatNotConfigured(ZhiwangError):
    """No official account is set up on this server, or its keys cannot be read."""

    code = "wechat_not_configured"
    status = 503
    title_zh = "尚未配置微信公众号"
    title_en = "No WeChat official account is configured"


class WechatSignature(ZhiwangError):
    """Unsigned, signed with another token, altered on the way, sent in plain mode, or meant for another account."""

    code = "wechat_signature"
    status = 403
    title_zh = "微信消息签名无效"
    title_en = "The signature of the WeChat message is missing or wrong"


class WechatStale(ZhiwangError):
    """Rightly signed, but outside the time window: a recorded call played again, or a clock that is wrong."""

    code = "wechat_stale"
    status = 403
    title_zh = "微信消息已过期"
    title_en = "The WeChat message is too old or from the future"


class WechatMalformed(ZhiwangError):
    """Not the XML of a WeChat message. Document types and entities are never accepted."""

    code = "wechat_malformed"
    status = 400
    title_zh = "微信消息格式不正确"
    title_en = "The WeChat message cannot be read"
