"""The first steps of the README, run as they are written against a running product.

Replaced are only what differs in a test: the address, the folder of local data, and the Python that runs it.
"""

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from backend.core.settings import PROJECT_ROOT
from backend.seed.load import write_drops
from tests.live import Live

PATIENCE_SECONDS = 240
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "── step "

EXPECTED = (
    "",  # shared names
    "",  # enrolling: its tokens are used from here on
    r'"checkpoint":\{"v":1',
    r"^\[\]$",
    r'(?i)upload-offset: \d+[\s\S]*"complete":true',
    r'"verdict":"accepted"',
    r'"state":"registered"',
    r"registered\ndispatched\nhandling\nchecking\nclosed",
    r'"total":0[\s\S]*"conflicts":\[\][\s\S]*"total":0',
    r'"state":"closed"[\s\S]*"unread":\d',
    "上报成功",
    r'"state":"submitted"[\s\S]*12345-440310',
    r'ready[\s\S]*"entries"[\s\S]*state="done"',
    r'"accepted":\d+,"rejected":5[\s\S]*行号',
    "unauthenticated",
)
"""What each step prints, in order."""


def steps(readme: str) -> list[str]:
    """The shell blocks of the first steps."""
    text = (PROJECT_ROOT / readme).read_text(encoding="utf-8")
    section = text.partition("\n## First steps\n" if readme == "README.md" else "\n## 第一步\n")[2]
    return BLOCK.findall(section.partition("\n## ")[0])


def as_script(blocks: list[str], live: Live, state: Path) -> str:
    """One script that stops at the first command that fails, and says which step it is in."""
    script = "set -eu\n" + "\n".join(f"echo '{MARK}{number}'\n{block}" for number, block in enumerate(blocks))
    for written, here in (
        ("http://127.0.0.1:8000", live.url),
        (".zhiwang/", f"{state}/"),
        ("$PWD/.venv/bin/python", sys.executable),
    ):
        assert written in script
        script = script.replace(written, here)
    return script


@pytest.fixture
def wechat_port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port for the stand-in of WeChat, told to the product before it starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    monkeypatch.setenv("WECHAT_API_URL", f"http://127.0.0.1:{port}")
    return port


@pytest.mark.skipif(shutil.which("curl") is None, reason="the steps are written for curl")
@pytest.mark.timeout(300)
def test_the_first_steps_work_as_written(wechat_port: int, live: Live, tmp_path: Path) -> None:
    state = tmp_path / "state"
    write_drops(state / "drops", 0.01, lambda *_: None)
    blocks = steps("README.md")
    ran = subprocess.run(
        ["bash", "-c", as_script(blocks, live, state)],
        check=False,
        cwd=PROJECT_ROOT,
        env=live.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    printed = re.split(rf"^{MARK}\d+\n", ran.stdout, flags=re.MULTILINE)[1:]
    assert ran.returncode == 0, f"step {len(printed) - 1} failed:\n{ran.stdout[-3000:]}"
    assert len(printed) == len(EXPECTED)
    for block, expected, output in zip(blocks, EXPECTED, printed, strict=True):
        assert re.search(expected, output, re.MULTILINE), f"{block}\nprinted:\n{output}"
    _nothing_is_left_undone(live)


def _nothing_is_left_undone(live: Live) -> None:
    counts = httpx.get(f"{live.url}/overview/v1/counts").json()
    assert counts["entries"] == {"event": 1}
    assert counts["mutations"] == {"applied": 1}
    assert counts["photos"] == {"processed": 2}
    assert counts["reports"] == {"submitted": 1}
    assert counts["jobs"].get("dead", 0) == 0


def test_both_readmes_have_the_same_steps() -> None:
    assert steps("README.md") == steps("README.zh-CN.md")
    assert len(steps("README.md")) == len(EXPECTED)
