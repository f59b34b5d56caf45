"""The address a local stack answers at."""

import errno
import http.client
import socket
import time
from dataclasses import dataclass

from backend.embedded.children import EmbeddedError

PORT_SECONDS = 3.0
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what to call, not what to listen on


@dataclass(frozen=True, slots=True)
class Address:
    """Where the API listens, and how to reach it from this machine."""

    host: str
    port: int

    @property
    def callable_host(self) -> str:
        """A host one can connect to, where the API listens on all of them."""
        return ANY_ADDRESS.get(self.host, self.host)

    def url(self) -> str:
        """The address for a browser on this machine."""
        host = f"[{self.callable_host}]" if ":" in self.callable_host else self.callable_host
        return f"http://{host}:{self.port}"

    def require_free(self) -> None:
        """`EmbeddedError` where something else listens there. A run killed just now gets a moment to let go."""
        deadline = time.monotonic() + PORT_SECONDS
        while True:
            try:
                self._bind()
            except OSError as error:
                if error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                raise EmbeddedError(self._why_not(error)) from error
            return

    def _bind(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((self.host, self.port))

    def _why_not(self, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            return (
                f"端口 {self.port} 已被其他程序占用，请换一个：PORT=8001 make run · "
                f"port {self.port} is taken by another program, choose another: PORT=8001 make run"
            )
        return f"无法监听 {self.host}:{self.port} · cannot listen there: {error.strerror or error}"

    def is_ready(self) -> bool:
        """Whether the API says that it can work."""
        connection = http.client.HTTPConnection(self.callable_host, self.port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
