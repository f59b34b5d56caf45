"""Headers that tell browsers and caches how little they may do with an answer. Plain ASGI, around every answer.

A header that a route set itself stands; only what is missing is added. The policies are the strictest ones that the
product's own pages work under: scripts and styles are files of this origin, never inline (OWASP ASVS 5.0, 3.4).
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HSTS = "max-age=31536000; includeSubDomains"
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=(), interest-cohort=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Permitted-Cross-Domain-Policies": "none",
}


class SecurityHeaders:
    """Adds the headers. `https` says that people reach the product by TLS: only then browsers are told to insist."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._always = {**ALWAYS, **({"Strict-Transport-Security": HSTS} if https else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        anonymous = "authorization" not in Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                complete(MutableHeaders(scope=message), self._always, anonymous=anonymous)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def complete(headers: MutableHeaders, always: dict[str, str], *, anonymous: bool) -> None:
    """Add what is missing. `anonymous`: no login came with the call, so nothing personal can be in the answer."""
    for name, value in always.items():
        headers.setdefault(name, value)
    page = headers.get("Content-Type", "").startswith("text/html")
    headers.setdefault("Content-Security-Policy", PAGE_POLICY if page else DATA_POLICY)
    # A page's own files may be kept if they are asked about again; whatever was answered to a login is kept nowhere.
    file = anonymous and "ETag" in headers
    headers.setdefault("Cache-Control", "no-cache" if file else "no-store")
