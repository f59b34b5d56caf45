"""Fuzz the whole API by its own OpenAPI document, as every kind of caller: `make test-api-fuzz`.

A stack of its own (`bench.served`), and schemathesis with all checks and all phases, stateful ones included, once for
each login: a handheld, the office roles, and nobody. What is asked, and each exception with its reason, stands in
`api_fuzz.toml`. Seeded: the same seed draws the same cases for the same document and answers.

    python -m bench.api_fuzz [--cases N] [--seconds S] [--seed N] [--logins a,b] [--examples N] [--only REGEX]

Ends with `RESULT cases=… failures=…`; the exit code is 1 where a check failed, a login was not tried, or fewer cases
than asked for were run.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from backend.core.settings import PROJECT_ROOT
from bench.served import served
from tests.world import World

HANDHELD, NOBODY = "handheld", "nobody"
LOGINS = (
    HANDHELD,
    "supervisor",
    "department_handler",
    "data_steward",
    "operator",
    "dispatcher",
    "auditor",
    "declaration_channel",
    "system_admin",
    "security_admin",
    NOBODY,
)
"""The two that can end other people's sessions come late."""

ALL_PHASES = "examples,coverage,fuzzing,stateful"
TOKEN_SECONDS = 540
"""A run is shorter than an access token lives."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one login's run came to."""

    login: str
    cases: int
    failures: int
    operations: int
    complete: bool
    said: str


def token_of(world: World, login: str) -> str:
    """A fresh access token; nobody's is none that stands."""
    if login == NOBODY:
        return "nobody"
    if login == HANDHELD:
        return str(world.handheld().tokens["access_token"])
    return world.office(login)["Authorization"].removeprefix("Bearer ")


def fuzz(
    url: str,
    login: str,
    *,
    token: str,
    seed: int,
    examples: int,
    seconds: float = 0,
    phases: str = ALL_PHASES,
    only: str = "",
) -> Outcome:
    """One run of schemathesis. Its report is read from a file, its words are kept for a failure."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("--config-file", str(PROJECT_ROOT / "bench" / "api_fuzz.toml"), "--no-color"),
            *("run", f"{url}/openapi.json", "-H", f"Authorization: Bearer {token}"),
            *("--seed", str(seed), "--max-examples", str(examples), "--phases", phases),
            *(("--max-time", str(max(1, int(seconds)))) if seconds else ()),
            *(("--include-path-regex", only) if only else ()),
            *("--report", "json", "--report-json-path", str(report)),
        ]
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        if not report.exists():
            return Outcome(login, 0, 1, 0, False, done.stdout + done.stderr)
        return _outcome(login, json.loads(report.read_text()), done.stdout)


def _outcome(login: str, report: dict[str, Any], said: str) -> Outcome:
    cases = report["test_cases"]
    failures = cases["unique_failures"] + max(cases["errored"], len(report["errors"]))
    operations = report["operations"]
    complete = operations["tested"] == operations["selected"]
    return Outcome(login, cases["generated"], failures, operations["tested"], complete, said)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="at least as many in all")
    parser.add_argument("--seconds", type=float, default=1500, help="time bound of the whole")
    parser.add_argument("--seed", type=int, default=20261125)
    parser.add_argument("--examples", type=int, default=8, help="drawn cases for each operation and round")
    parser.add_argument("--only", default="", help="a regular expression of paths")
    parser.add_argument("--logins", default=",".join(LOGINS))
    return parser.parse_args()


def main() -> int:
    """Round after round, each with all logins, until there are enough cases."""
    options = _arguments()
    logins = options.logins.split(",")
    began, outcomes, turn = time.monotonic(), list[Outcome](), 0
    with served(STREAM_SECONDS="0.05") as stack, httpx.Client(base_url=stack.url, timeout=60) as client:
        world = World(client)  # type: ignore[arg-type]
        while turn < len(logins) or sum(outcome.cases for outcome in outcomes) < options.cases:
            left = options.seconds - (time.monotonic() - began)
            if left <= 0:
                break
            turns_left = len(logins) - turn % len(logins)
            login = logins[turn % len(logins)]
            outcome = fuzz(
                stack.url,
                login,
                token=token_of(world, login),
                seed=options.seed + turn,
                seconds=min(TOKEN_SECONDS, left / turns_left),
                examples=options.examples,
                only=options.only,
            )
            outcomes.append(outcome)
            turn += 1
            print(f"{login:<20} cases={outcome.cases} operations={outcome.operations} failures={outcome.failures}")
            if outcome.failures:
                print(outcome.said)
            sys.stdout.flush()
        faults = faults_in_log(stack.log)
    cases, failures = sum(outcome.cases for outcome in outcomes), sum(outcome.failures for outcome in outcomes) + faults
    operations = max((outcome.operations for outcome in outcomes), default=0)
    print(
        f"RESULT cases={cases} failures={failures} operations={operations} logins={len(set(logins))} "
        f"rounds={turn / len(logins):.1f} seed={options.seed} seconds={time.monotonic() - began:.0f}"
    )
    enough = cases >= options.cases and turn >= len(logins) and all(outcome.complete for outcome in outcomes)
    return 0 if enough and not failures else 1


def faults_in_log(log: Path) -> int:
    """Lines of the API's log that say a fault of ours, or that the last net had to withhold something."""
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if _is_fault(line)]
    for line in lines[:20]:
        print(f"api.log: {line}")
    return len(lines)


def _is_fault(line: str) -> bool:
    try:
        said = json.loads(line)
    except ValueError:
        return True
    return said.get("level") in {"error", "critical"} or bool(said.get("withheld"))


if __name__ == "__main__":
    sys.exit(main())
