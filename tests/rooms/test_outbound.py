"""Calls go to listed hosts only, to the address that was checked, and never inward because a name or answer says so."""

import ast
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
import requests

from backend.core.settings import PROJECT_ROOT, get_settings
from backend.services import outbound
from backend.services.outbound import Door, Gate, OutboundRefused, PinnedTransport

PUBLIC = "93.184.216.34"
TIMEOUT = outbound.Timeout(5.0)
NETWORK = {"aiohttp", "ftplib", "http.client", "httpx", "requests", "smtplib", "socket", "urllib.request", "urllib3"}
MAY_CALL = (
    "backend/services/outbound.py",
    "backend/demo/",  # plays the people who call the product
    "backend/dev.py",  # looks for a free port and asks its own API whether it is ready
    "backend/embedded/",  # starts servers on sockets of this machine
    "sync/client/",  # runs on the devices
)
NO_CALL = {
    ("backend/services/objects.py", "urllib.request.url2pathname"),
    ("backend/api/server.py", "socket.IPPROTO_TCP"),
    ("backend/api/server.py", "socket.TCP_NODELAY"),
}
XML_WITHOUT_A_PARSER = {"xml.etree.ElementTree.Element", "xml.etree.ElementTree.ParseError", "xml.sax.saxutils.escape"}


class _Answers(BaseHTTPRequestHandler):
    """A local server: `/redirect` leads inward, `/large` is large, `/packed` claims to be compressed."""

    seen: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.seen.append((self.headers["Host"], self.path))
        self.send_response(302 if self.path == "/redirect" else 200)
        if self.path == "/redirect":
            self.send_header("Location", f"http://{self.headers['Host']}/inside")
        if self.path == "/packed":
            self.send_header("Content-Encoding", "gzip")
        body = b"x" * (5000 if self.path == "/large" else 5)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def seen() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def server(seen: list[tuple[str, str]]) -> Iterator[str]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Answers,), {"seen": seen}))
    threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


def _gate(*doors: str, answers: list[list[str]] | None = None) -> Gate:
    """A gate whose resolver gives these answers one after the other."""
    waiting = list(answers or [])
    return Gate([Door.parse(door) for door in doors], resolver=lambda *_: waiting.pop(0))


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "api.weixin.qq.com.example.org",
        "127.0.0.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "169.254.169.254",
        "localhost",
    ],
)
def test_a_host_that_is_not_listed_is_not_called(host: str) -> None:
    gate = _gate("https://api.weixin.qq.com", answers=[[PUBLIC]])
    with pytest.raises(OutboundRefused, match="host_not_listed"):
        gate.address(scheme="https", host=host, port=None)


def test_a_listed_host_is_called_at_the_address_it_resolves_to_however_it_is_spelt() -> None:
    for host in ("api.weixin.qq.com", "API.WEIXIN.QQ.COM", "api.weixin.qq.com."):
        gate = _gate("https://api.weixin.qq.com", answers=[[PUBLIC]])
        assert gate.address(scheme="https", host=host, port=None) == PUBLIC


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.5",
        "172.16.3.4",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.5",
        "64:ff9b::a00:5",
        "2002:a00:5::",
        "::127.0.0.1",
    ],
)
def test_a_name_that_leads_inward_is_not_called(address: str) -> None:
    for answers in ([address], [PUBLIC, address]):
        gate = _gate("https://api.weixin.qq.com", answers=[answers])
        with pytest.raises(OutboundRefused, match="address_inside"):
            gate.address(scheme="https", host="api.weixin.qq.com", port=443)


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:220:1:248:1893:25c8:1946", f"::ffff:{PUBLIC}"])
def test_public_addresses_are_not_inside(address: str) -> None:
    assert not outbound.is_inside(ip_address(address))


@pytest.mark.parametrize(
    ("door", "scheme", "host", "port", "refusal"),
    [
        ("https://api.weixin.qq.com", "http", "api.weixin.qq.com", 80, "host_not_listed"),
        ("api.weixin.qq.com", "http", "api.weixin.qq.com", 80, "not_encrypted"),
        ("https://api.weixin.qq.com", "https", "api.weixin.qq.com", 8443, "host_not_listed"),
        ("http://93.184.216.34", "http", "93.184.216.34", 80, "not_encrypted"),
        ("http://127.0.0.1:9000", "http", "127.0.0.1", 9001, "host_not_listed"),
    ],
)
def test_another_port_or_no_encryption_is_refused(door: str, scheme: str, host: str, port: int, refusal: str) -> None:
    with pytest.raises(OutboundRefused, match=refusal):
        _gate(door, answers=[[PUBLIC]]).address(scheme=scheme, host=host, port=port)


@pytest.mark.parametrize(
    ("door", "scheme", "host", "port", "address"),
    [
        ("http://127.0.0.1:9000", "http", "127.0.0.1", 9000, "127.0.0.1"),
        ("http://localhost:9000", "http", "localhost", 9000, "127.0.0.1"),
        ("http://[::1]:9000", "http", "::1", 9000, "::1"),
        ("proxy.city.example@10.0.0.5", "https", "proxy.city.example", 8443, "10.0.0.5"),
    ],
)
def test_an_inward_address_is_called_where_the_settings_name_it(
    door: str, scheme: str, host: str, port: int, address: str
) -> None:
    assert _gate(door).address(scheme=scheme, host=host, port=port) == address


def test_the_connection_goes_to_the_checked_address_whatever_the_resolver_says_next(
    server: str, seen: list[tuple[str, str]]
) -> None:
    """The second answer of a rebinding resolver is asked for by nobody: there is one question for a call."""
    port = server.rpartition(":")[2]
    asked: list[str] = []

    class Rebinding(Gate):
        """Without TLS here, and inward at first, so that a local server can be the one that was checked."""

        def address(self, *, scheme: str, host: str, port: int | None) -> str:
            asked.append(f"{scheme}://{host}:{port}")
            return "127.0.0.1" if len(asked) == 1 else "192.0.2.1"

    transport = PinnedTransport(Rebinding([]), max_bytes=100)
    with outbound.Client(transport=transport, timeout=TIMEOUT) as client:
        assert client.get(f"http://rebinding.example:{port}/").text == "xxxxx"
    assert asked == [f"http://rebinding.example:{port}"]
    assert seen == [(f"rebinding.example:{port}", "/")]


def test_the_certificate_is_checked_against_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[httpx.Request] = []

    def handle(_: object, request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, content=b"ok")

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle)
    client = outbound.client("https://api.weixin.qq.com", timeout=TIMEOUT, max_bytes=10, resolver=lambda *_: [PUBLIC])
    assert client.get("/cgi-bin/x").status_code == 200
    [request] = sent
    assert request.url.host == PUBLIC
    assert request.extensions["sni_hostname"] == "api.weixin.qq.com"
    assert request.headers["Host"] == "api.weixin.qq.com"


def test_redirects_are_not_followed_and_answers_are_bounded(server: str, seen: list[tuple[str, str]]) -> None:
    with outbound.client(server, timeout=TIMEOUT, max_bytes=100) as client:
        assert client.get("/redirect").status_code == 302
        with pytest.raises(outbound.AnswerTooLarge):
            client.get("/large")
        with pytest.raises(outbound.AnswerTooLarge):
            client.get("/packed")
        with pytest.raises(OutboundRefused):
            client.get(server.replace("127.0.0.1", "127.0.0.2"))
    assert [path for _, path in seen] == ["/redirect", "/large", "/packed"]


def test_an_answer_that_drips_ends(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "CALL_SECONDS", -1.0)
    with (
        outbound.client(server, timeout=TIMEOUT, max_bytes=100) as client,
        pytest.raises(outbound.AnswerTooLarge),
    ):
        client.get("/")


def test_a_library_with_a_session_of_its_own_goes_through_the_gate(server: str, seen: list[tuple[str, str]]) -> None:
    session = requests.Session()
    outbound.guard_session(session, Gate([Door.parse(server)]))
    assert session.get(f"{server}/", timeout=5).text == "xxxxx"
    for url in (f"{server}/redirect", server.replace("127.0.0.1", "127.0.0.2"), "http://localhost:1/"):
        with pytest.raises(requests.exceptions.RequestException):
            session.get(url, timeout=5)
    assert [path for _, path in seen] == ["/", "/redirect"]


def test_a_session_checks_the_certificate_against_the_name_too() -> None:
    adapter = outbound.PinnedAdapter(outbound.google_gate(resolver=lambda *_: [PUBLIC]))
    request = requests.Request("POST", "https://fcm.googleapis.com/v1/x").prepare()
    host, pool = adapter.build_connection_pool_key_attributes(request, True)
    assert host == {"scheme": "https", "host": PUBLIC, "port": None}
    assert pool["server_hostname"] == pool["assert_hostname"] == "fcm.googleapis.com"


def test_the_settings_add_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTBOUND_HOSTS", "sms.city.example:8443, proxy.city.example@10.0.0.5")
    get_settings.cache_clear()
    assert outbound.configured_doors() == [
        Door("sms.city.example", 8443),
        Door("proxy.city.example", None, "10.0.0.5"),
    ]
    get_settings.cache_clear()


def _imports(path: Path) -> Iterator[str]:
    """The full names of what a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _breaches(path: Path, place: str) -> Iterator[str]:
    for name in _imports(path):
        calls = any(name == module or name.startswith(f"{module}.") for module in NETWORK)
        if calls and not place.startswith(MAY_CALL) and (place, name) not in NO_CALL:
            yield name
        if name.split(".")[0] in {"xml", "lxml", "xmltodict"} and name not in XML_WITHOUT_A_PARSER:
            yield name


def test_nothing_else_in_the_product_calls_out_and_xml_is_read_by_defusedxml_only() -> None:
    found = []
    for package in ("backend", "sync", "media", "workflows"):
        for path in sorted((PROJECT_ROOT / package).rglob("*.py")):
            place = str(path.relative_to(PROJECT_ROOT))
            found += [(place, name) for name in _breaches(path, place)]
    assert found == []


def test_planted_imports_are_found(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("from urllib import request\nimport requests.sessions\nfrom xml.etree import ElementTree\n")
    assert list(_breaches(planted, "sync/planted.py")) == [
        "urllib.request",
        "requests.sessions",
        "xml.etree.ElementTree",
    ]
