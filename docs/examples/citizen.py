# ruff: noqa: INP001  an example to be run by name, not a package
"""A citizen who reports something to the official account, and the part of WeChat that stands between (随手拍).

    .venv/bin/python -m docs.examples.citizen --photo photo.jpg --text 路边垃圾成堆 --lat 22.7114 --lon 114.4608

Run it in the project's folder while `make run` runs. The messages reach the product as WeChat sends them: signed,
encrypted, over HTTP. The product calls WeChat back for the photo and for its answers; without a real official account
that address is this machine's, and this program serves it until the report is submitted.
"""

import argparse
import json
import os
import secrets
import sys
import time
from pathlib import Path

import httpx

from backend.core.settings import get_settings
from backend.demo.citizens import CONFIRM, SUBMITTED, NoOwnWechat, wechat
from backend.demo.wechat_api import Call, FakeWechatApi

PATIENCE_SECONDS = 60.0
PHOTO = "photo-1"


def main() -> int:
    """Report, print what the citizen is answered, and end with 0 once the report is submitted."""
    said = _arguments()
    os.environ.update(_settings_of_running_stack())
    get_settings.cache_clear()
    openid, address = f"o-{secrets.token_hex(8)}", said.url or f"http://127.0.0.1:{get_settings().port}"
    try:
        with wechat(()) as platform, httpx.Client(base_url=address, trust_env=False) as product:
            platform.api.photos[PHOTO] = said.photo.read_bytes()
            _send(product, platform.sender.text(openid, said.text))
            _send(product, platform.sender.image(openid, PHOTO))
            _send(product, platform.sender.location(openid, said.lat, said.lon))
            _send(product, platform.sender.text(openid, CONFIRM))
            return 0 if _listen(platform.api, openid) else 1
    except NoOwnWechat:
        sys.exit("the stack has a real official account, or none: write to it from WeChat instead")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Send one report as a citizen would. 以市民身份上报一件事。")
    parser.add_argument("--photo", type=Path, required=True, help="a JPEG, PNG, WebP or HEIC file")
    parser.add_argument("--text", required=True, help="what is the matter")
    parser.add_argument("--lat", type=float, required=True, help="latitude in degrees, WGS-84")
    parser.add_argument("--lon", type=float, required=True, help="longitude in degrees, WGS-84")
    parser.add_argument("--url", default="", help="address of the running product")
    return parser.parse_args()


def _settings_of_running_stack() -> dict[str, str]:
    """What `make run` left for programs of its own kind; nothing where another kind of stack is meant."""
    kept = get_settings().state_dir / "environment.json"
    values: dict[str, str] = json.loads(kept.read_text()) if kept.exists() else {}
    return values


def _send(product: httpx.Client, call: Call) -> None:
    answer = product.post("/channels/wechat", params=call.params, content=call.body)
    answer.raise_for_status()


def _listen(api: FakeWechatApi, openid: str) -> bool:
    """Print each answer as it comes; whether the report was submitted in good time."""
    heard, end = 0, time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        answers = [sent.text for sent in api.sent if sent.openid == openid]
        for answer in answers[heard:]:
            heard += 1
            print(answer)  # noqa: T201  what the citizen reads is what this program is for
            if answer.startswith(SUBMITTED):
                return True
        time.sleep(0.1)
    return False


if __name__ == "__main__":
    sys.exit(main())
