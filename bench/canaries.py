"""`make canaries`: ten thousand synthetic identities go through everything, and then every byte is searched for them.

A stack of its own runs the product's processes over embedded servers. Handhelds push records of every kind and rows of
every fault, departments import files, citizens report, photographs come with metadata, cases are handled with notes,
and every route is called wrongly. Afterwards logs, broker, database, objects, temporary files, answers and outgoing
calls are searched for every identity in every encoding (`bench.canary.needles`), together with one more that was
planted everywhere and has to be found. Nothing may be sighted.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from backend.core.crypto import key_ring
from backend.core.db import engine_for
from backend.core.settings import get_settings
from bench.canary import control, erase
from bench.canary.answers import Recorder
from bench.canary.declare import declare
from bench.canary.drive import Drive
from bench.canary.failing import fail_everywhere
from bench.canary.people import MOST, identity
from bench.canary.places import Place, gather
from bench.canary.search import Found, search
from bench.stack import OwnStack, own_stack, run_module
from tests.live import Live
from tests.world import until

DATABASE = "zhiwang"
SHOWN = 40
IDLE_SECONDS = 1800.0


class Run:
    """One run: its stack, its processes and its clock."""

    def __init__(self, stack: OwnStack, identities: int) -> None:
        self.stack = stack
        self.everyone = [identity(number) for number in range(identities)]
        self.spare, self.erased = identity(MOST - 1), identity(MOST - 2)
        self.environment = stack.environment(DATABASE, TMPDIR=str(stack.folder / "tmp"))
        self.logs = stack.folder / "processes"
        for folder in (stack.folder / "tmp", self.logs, stack.folder / "outgoing"):
            folder.mkdir(mode=0o700, exist_ok=True)
        self._began = time.monotonic()

    def say(self, what: str) -> None:
        """A line of progress with the seconds since the beginning."""
        print(f"  {time.monotonic() - self._began:6.1f} s  {what}", flush=True)

    def idle(self) -> bool:
        """Whether no job waits or runs; those that wait for a later moment do not count."""
        with self.stack.superuser(DATABASE) as connection:
            row = connection.execute(
                "SELECT count(*) FROM job WHERE state IN ('ready', 'running') AND not_before < now() + interval '3 s'"
            ).fetchone()
        return row == (0,)

    def rest(self) -> None:
        """Wait until the workers have nothing to do."""
        until(self.idle, seconds=IDLE_SECONDS, what="jobs done")


@contextmanager
def processes(run: Run, application: str = "backend.main:app") -> Iterator[Live]:
    """API, worker and beat of the product, over the run's servers."""
    live = Live(run.logs, run.environment, application=application, worker="bench.canary.worker")
    try:
        live.start_api()
        live.start_worker()
        live.start_beat()
        yield live
    finally:
        live.stop()


def drive(run: Run, live: Live, outside: "Outside") -> Drive:
    """Everything that is entered, in the order of a day."""
    client = Recorder(live.url, run.stack.folder / "answers")
    going = Drive(run.everyone, client, outside.wechat, [erase.elsewhere(run.erased)])
    steps: Sequence[tuple[str, Callable[[], object]]] = (
        ("handhelds are enrolled", going.enrol),
        ("files are imported", going.import_files),
        ("records are entered", going.enter),
        ("edits meet", going.disagree),
        ("rows are refused", going.refuse),
        ("people declare", lambda: declare(going)),
        ("citizens report", going.report),
        ("photographs are sent", going.photograph),
        ("jobs come to rest", run.rest),
        ("cases are handled", lambda: going.handle_cases(max(5, len(run.everyone) // 100))),
        ("tokens are renewed", going.renew),
        ("handhelds pull", going.replicate),
        ("offices look", going.look),
        ("tables and a person's data are exported", going.export),
        ("every route is called wrongly", lambda: _fail(going)),
        ("jobs come to rest", run.rest),
    )
    for what, step in steps:
        step()
        run.say(what)
    outside.write_down(run.stack.folder / "outgoing")
    run.say(f"answers by status: {dict(sorted(client.statuses.items()))}")
    return going


def _fail(going: Drive) -> None:
    desk = going.world.office("supervisor")
    fail_everywhere(going.client, ({}, desk, going.first[0].headers), going.everyone)


class Outside:
    """WeChat and Firebase as the product sees them, on loopback."""

    def __init__(self) -> None:
        from backend.demo.wechat_api import FakeWechatApi
        from tests.fakes.fcm import FakeFcm

        self.wechat, self.fcm = FakeWechatApi({}), FakeFcm()
        self.wechat_url = self.wechat.start()
        self.fcm.start()

    def settings(self, folder: Path) -> dict[str, str]:
        credentials = self.fcm.write_credentials(folder / "firebase.json")
        return {
            "WECHAT_API_URL": self.wechat_url,
            "FIREBASE_CREDENTIALS": str(credentials),
            "FCM_URL": self.fcm.send_url,
        }

    def write_down(self, folder: Path) -> None:
        """What was sent out, as files to be searched."""
        (folder / "fcm.json").write_text(json.dumps(self.fcm.messages), encoding="utf-8")
        sent = [{"openid": one.openid, "text": one.text} for one in self.wechat.sent]
        (folder / "wechat.json").write_text(json.dumps(sent, ensure_ascii=False), encoding="utf-8")

    def stop(self) -> None:
        self.wechat.stop()
        self.fcm.stop()


def forget_one(run: Run, going: Drive) -> tuple[erase.Opened, erase.Opened]:
    """Erase one canary; what could be read before and after."""
    going.renew()
    erase.enter(going, run.erased)
    run.rest()
    assert photographs_of(run), "a photograph of the one to be erased is there before"
    before = erase.open_everything()
    run.say(f"one is entered to be erased; {len(before.texts):,} rows opened")
    erase.ask_for(going, run.erased)
    run.rest()
    after = erase.open_everything()
    run.say("one is erased")
    return before, after


def photographs_of(run: Run) -> list[Found]:
    """Sightings of the erased one in photographs as they were taken, which are searched for nobody else."""
    media = Path(run.stack.settings["STATE_DIR"]) / "media"
    files = tuple(file for file in media.rglob("*") if file.is_file())
    return search([Place("photographs", files)], [run.erased.number], {})


def look_everywhere(run: Run, going: Drive) -> tuple[list[Place], list[Found]]:
    """Plant the control, gather all places and search them."""
    control.plant(run.stack, DATABASE, run.spare, log=run.logs / "api.log")
    scratch = run.stack.folder / "scratch"
    scratch.mkdir()
    logs = sorted(run.logs.iterdir())
    places = gather(run.stack, DATABASE, logs=logs, scratch=scratch)
    for place in places:
        run.say(f"{place.name}: {len(place.files)} files, {place.size() / 1e6:,.1f} MB")
    numbers = [one.number for one in (*run.everyone, run.spare, run.erased)]
    return places, search(places, numbers, going.reported)


def report(found: Sequence[Found]) -> None:
    """Sightings by place, field and encoding, and the first of them."""
    counts = Counter((item.place, item.sighting.field, item.sighting.encoding) for item in found)
    for (place, field, encoding), number in sorted(counts.items()):
        print(f"  SIGHTED {number:>6} × {field} as {encoding} in {place}")
    for item in found[:SHOWN]:
        print(f"    {item.file} at {item.sighting.offset}: {item.sighting.field} of {item.sighting.number}")


def main() -> int:
    """Drive, search and print; the exit code is 1 for a sighting or a control that was missed."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--identities", type=int, default=10_000)
    reader.add_argument("--keep", action="store_true", help="leave the folder for a closer look at sightings")
    said = reader.parse_args()
    with ExitStack() as opened:
        outside = Outside()
        opened.callback(outside.stop)
        stack = opened.enter_context(own_stack(keep=said.keep))
        stack = stack.with_settings(outside.settings(stack.folder))
        run = Run(stack, said.identities)
        become(run)
        prepare(run)
        with processes(run) as live:
            going = drive(run, live, outside)
            before, after = forget_one(run, going)
        places, found = look_everywhere(run, going)
        dump = (stack.folder / "scratch" / "dump.bin").read_bytes()
        faults = erase.faults(before, after, run.erased, dump)
        faults += [f"still in a photograph: {item.file}" for item in photographs_of(run)]
        misses = control.missed(found, run.spare, [place.name for place in places])
        sightings = [item for item in found if item.sighting.number != run.spare.number]
        run.say(f"searched; the control was found {len(found) - len(sightings)} times")
        report(sightings)
        for miss in misses:
            print(f"  MISSED the control in {miss}")
        for fault in faults[:SHOWN]:
            print(f"  ERASURE {fault}")
    result = {"canaries": said.identities, "sightings": len(sightings)}
    result |= {"control_missed": len(misses), "erasure_faults": len(faults)}
    print("RESULT", *(f"{name}={value}" for name, value in result.items()))
    return 1 if sightings or misses or faults else 0


def become(run: Run) -> None:
    """Read this process's settings anew: it plays WeChat, for which it needs the account's secrets."""
    os.environ |= run.environment
    for cached in (get_settings, key_ring, engine_for):
        cached.cache_clear()


def prepare(run: Run) -> None:
    """A migrated database with code tables, territory and demo accounts."""
    run.stack.migrate(DATABASE)
    run_module("bench.canary.seed", environment=run.environment)
    run.say("migrated and seeded")


if __name__ == "__main__":
    sys.exit(main())
