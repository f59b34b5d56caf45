"""Real tus clients that send one photo and do not give up: tus-js-client under Node, and tuspy.

They do what their authors say to do after an error: ask for the offset and go on, or begin again where the server has
forgotten the upload.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from uuid import UUID

import requests
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError, TusUploadFailed

from tests.simulation.node import NodeProcess

TRIES = 200
SECONDS = 300.0
PAUSE_SECONDS = 0.02
BEGIN_AGAIN = frozenset({404, 410, 460})

Send = Callable[["Errand"], None]


@dataclass(frozen=True, slots=True)
class Errand:
    """One photo to be sent: the file, what is said of it, in parts of how many bytes (0: in one), and where to."""

    path: Path
    photo_id: UUID
    sha256: str
    chunk: int
    endpoint: str
    headers: Mapping[str, str]

    @property
    def metadata(self) -> dict[str, str]:
        """As both clients take it."""
        return {"photo_id": str(self.photo_id), "sha256": self.sha256, "mime": "image/jpeg"}


def tus_js(process: NodeProcess, *, at_once: bool) -> Send:
    """tus-js-client in a Node process; `at_once` sends the first bytes with the creation."""

    def send(errand: Errand) -> None:
        number = process.begin(
            "upload",
            endpoint=errand.endpoint,
            headers=dict(errand.headers),
            path=str(errand.path),
            chunkSize=errand.chunk or None,
            metadata=errand.metadata,
            atOnce=at_once,
            tries=TRIES,
        )
        process.finish(number, seconds=SECONDS)

    return send


def tuspy(*, checksum: bool) -> Send:
    """tuspy in this process, with a checksum for each part or without."""

    def send(errand: Errand) -> None:
        content, url = errand.path.read_bytes(), None
        client = TusClient(errand.endpoint, headers=dict(errand.headers))
        for _ in range(TRIES):
            try:
                uploader = client.uploader(
                    file_stream=BytesIO(content),
                    chunk_size=errand.chunk or len(content),
                    metadata=errand.metadata,
                    upload_checksum=checksum,
                    url=url,
                )
                url = url or uploader.create_url()
                uploader.set_url(url)
                uploader.upload()
                return
            except (TusCommunicationError, TusUploadFailed, requests.RequestException) as error:
                if getattr(error, "status_code", None) in BEGIN_AGAIN:
                    url = None
                time.sleep(PAUSE_SECONDS)
        raise AssertionError(f"not sent in {TRIES} tries")

    return send
