"""Drives canaries through everything a running stack takes from handhelds, departments, citizens and offices."""

import base64
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import uuid4

from backend.core.enums import Datum
from backend.core.ids import new_id
from backend.demo.wechat_api import FakeWechatApi, WechatSender
from backend.kinds.geodesy import SCALE, gcj02_from_wgs84, to_wgs84
from bench.canary import files, records
from bench.canary.answers import Recorder
from bench.canary.people import Identity, corners, degrees_writings
from bench.canary.records import Json
from tests.world import Handheld, World, until
from workflows.channels import hook

BATCH = 200
TERMS = 4
"""Grids that take part: each with two handhelds, whose workers hand it over to one another."""
PERMITS: Json = {
    "code": "permits",
    "name": "居住登记（合成）",
    "department_code": "public-security",
    "legal_basis": "示例",
    "grade": "general",
    "kind": "person",
    "columns": [{"title": title, "field": field} for field, title in files.PERMITS.items()],
}


@dataclass
class Drive:
    """A run: who is driven through, over which client, and what came of it.

    `registered` are in the departments' files only.
    """

    everyone: Sequence[Identity]
    client: Recorder
    api: FakeWechatApi
    registered: Sequence[Identity] = ()
    world: World = field(init=False)
    first: list[Handheld] = field(default_factory=list)
    second: list[Handheld] = field(default_factory=list)
    grids: list[str] = field(default_factory=list)
    people: dict[int, Json] = field(default_factory=dict)
    photos: list[str] = field(default_factory=list)
    reported: dict[str, dict[str, int]] = field(default_factory=lambda: {"lat": {}, "lon": {}})

    def __post_init__(self) -> None:
        client: Any = self.client
        self.world = World(client)

    def every(self, step: int) -> list[Identity]:
        """A share of the canaries, for what is driven one call at a time."""
        return [one for one in self.everyone if one.number % step == 0]

    def enrol(self) -> None:
        """Two handhelds in each of some grids."""
        workers = self.world.workers()
        half = len(workers) // 2
        for place in range(TERMS):
            self.first.append(self.world.handheld(workers[place]))
            self.second.append(self.world.handheld(workers[half + place]))
        self.grids = [handheld.grids()[0] for handheld in self.first]
        for handheld in self.first:
            target = {"target": f"synthetic-target-{handheld.login}", "kind": "fid"}
            self.client.put("/notices/v1/push-target", json=target, headers=handheld.headers)

    def renew(self) -> None:
        """Fresh tokens for the handhelds: on a busy machine jobs take longer than a token lasts."""
        for handheld in (*self.first, *self.second):
            held = handheld.tokens["refresh_token"]
            asked = {"refresh_token": held, "proof": handheld.key.proof(held)}
            answer = self.client.post("/auth/v1/refresh", json=asked)
            assert answer.status_code == 200, answer.text
            handheld.tokens = answer.json()

    def of_grid(self, place: int, some: Iterable[Identity]) -> list[Identity]:
        return [one for one in some if one.number % TERMS == place]

    def enter(self) -> None:
        """Everybody as a resident; shares of them as owners and tenants, representatives, parties and finders."""
        for place, handheld in enumerate(self.first):
            grid = self.grids[place]
            made = {one.number: records.person(one, grid) for one in self.of_grid(place, self.everyone)}
            self.people |= made
            push(handheld, "person", map(records.row, made.values()))
            push(
                handheld, "house", (records.row(records.house(one, grid)) for one in self.of_grid(place, self.every(9)))
            )
            shops = (records.row(records.organisation(one, grid)) for one in self.of_grid(place, self.every(21)))
            push(handheld, "organisation", shops)
            push(
                handheld,
                "event",
                (records.row(records.event(one, grid)) for one in self.of_grid(place, self.every(33))),
            )
            lamps = (records.row(records.component(one, grid)) for one in self.of_grid(place, self.every(39)))
            push(handheld, "component", lamps)

    def disagree(self) -> None:
        """Both handhelds of a grid edit the same people; then some of the records are deleted."""
        for place, (mine, theirs) in enumerate(zip(self.first, self.second, strict=True)):
            some = self.of_grid(place, self.every(9))
            base = [self.people[one.number] for one in some]
            for handheld, word in ((theirs, "先"), (mine, "后")):
                changed = [
                    (records.edit(old, remark=f"{word} {one.text()}", employer=f"{word}{one.name}"), old)
                    for one, old in zip(some, base, strict=True)
                ]
                push(handheld, "person", (records.row(*pair) for pair in changed))
            gone = [records.house(one, self.grids[place]) for one in some[:50]]
            push(mine, "house", map(records.row, gone))
            push(mine, "house", (records.row(records.edit(old, _deleted=True), old) for old in gone))

    def refuse(self) -> None:
        """Rows that are quarantined, of every code."""
        for place, handheld in enumerate(self.first):
            grid, elsewhere = self.grids[place], self.grids[(place + 1) % TERMS]
            rows: list[str] = []
            for one in self.of_grid(place, self.every(9)):
                rows += records.refused_rows(one, grid, elsewhere)
                rows.append(records.reused_op(self.people[one.number], one))
            push(handheld, "person", rows)
            handheld.outcomes()
            self._foreign(handheld, elsewhere)

    def _foreign(self, handheld: Handheld, elsewhere: str) -> None:
        """Ids of another grid's people, pushed with nothing in them: nothing of theirs may come back."""
        own = handheld.grids()[0]
        others = [self.people[one.number] for one in self.everyone if self.people[one.number]["grid_id"] == elsewhere]
        with self.client.in_full():
            push(handheld, "person", (records.row(_bare(other["id"], own)) for other in others[:20]))

    def replicate(self) -> None:
        """The first handhelds pull everything of their grids."""
        for handheld, kind in itertools.product(self.first, ("person", "event", "case")):
            handheld.pull(kind, limit=500)

    def import_files(self) -> None:
        """Departments hand over their files; refused rows are read by the steward."""
        steward = self.world.office("data_steward")
        sent = {
            "population": files.population([*self.everyone, *self.registered], self.grids),
            "houses": files.houses([*self.every(3), *self.registered], self.grids),
            "permits": files.permits(self.every(3)),
        }
        registered = self.client.post("/registry/v1/datasets", json=PERMITS, headers=steward)
        assert registered.status_code == 201, registered.text
        for dataset, content in [*sent.items(), ("population", files.bad_header(self.everyone[0]))]:
            answer = self.client.post(
                f"/registry/v1/datasets/{dataset}/imports",
                content=content,
                headers={**steward, "Content-Type": "text/csv"},
            )
            assert answer.status_code == 202, answer.text
            snapshot = answer.json()["snapshot_id"]
            path = f"/registry/v1/imports/{snapshot}"
            until(lambda p=path: self._loaded(p, steward), seconds=240, what=f"{dataset} loaded")  # type: ignore[misc]
            self.client.get(f"{path}/rejects", headers=steward)
        self.client.get("/registry/v1/datasets", headers=steward)

    def _loaded(self, path: str, steward: dict[str, str]) -> bool:
        return bool(self.client.get(path, headers=steward).json()["state"] in ("current", "failed", "superseded"))

    def report(self) -> None:
        """Citizens write who they are and what they saw, stand at home, and send photographs."""
        sender = WechatSender(hook.channel())
        for one in self.every(25):
            openid = f"o-synthetic-{one.number}"
            media = f"media-{one.number}"
            self.api.photos[media] = files.photo(one)
            lat, lon = one.lat / SCALE, one.lon / SCALE
            self._note_place(one, lat, lon)
            calls = [sender.text(openid, one.text()), sender.location(openid, lat, lon), sender.text(openid, "提交")]
            if one.number % 100 == 0:
                calls.insert(1, sender.image(openid, media))
            for call in calls:
                self.client.post("/channels/wechat", params=call.params, content=call.body)

    def _note_place(self, one: Identity, lat: float, lon: float) -> None:
        """WeChat writes six decimals of GCJ-02: that writing counts as well, and what becomes of it in WGS-84.

        A writing that a corner of a grid has too counts for nobody: it stands in the table of grids for all to read.
        """
        said = [round(angle, 6) for angle in gcj02_from_wgs84(lat, lon)]
        back = to_wgs84(said[0], said[1], Datum.GCJ02)
        for place, name in enumerate(("lat", "lon")):
            for angle in (said[place], back[place]):
                writings = set(degrees_writings(round(angle * SCALE))) - corners()[place]
                self.reported[name] |= dict.fromkeys(writings, one.number)

    def photograph(self) -> None:
        """Handhelds send photographs with metadata, in one piece and by tus with a telling file name."""
        for one in self.every(100):
            place = one.number % TERMS
            handheld, content, photo_id = self.first[place], files.photo(one), str(new_id())
            entry = {
                "photo_id": photo_id,
                "sha256": sha256(content).hexdigest(),
                "size": len(content),
                "mime": "image/jpeg",
            }
            push(handheld, "event", [records.row(records.event(one, self.grids[place], [entry]))])
            declared = {
                "photo_id": photo_id,
                "sha256": entry["sha256"],
                "filetype": "image/jpeg",
                "filename": one.text(),
            }
            if one.number % 200:
                self.client.post(
                    "/media/v1/photos",
                    data={**declared, "mime": "image/jpeg"},
                    files={"file": (f"{one.id_number}.jpg", content, "image/jpeg")},
                    headers=handheld.headers,
                )
            else:
                self.upload(handheld, declared, content)
            self.photos.append(photo_id)

    def upload(self, handheld: Handheld, declared: Json, content: bytes) -> None:
        """Send a photo by tus, in one piece."""
        encoded = ",".join(f"{key} {base64.b64encode(str(value).encode()).decode()}" for key, value in declared.items())
        tus = {**handheld.headers, "Tus-Resumable": "1.0.0"}
        made = self.client.post(
            "/media/v1/uploads", headers={**tus, "Upload-Length": str(len(content)), "Upload-Metadata": encoded}
        )
        assert made.status_code == 201, made.text
        chunk = {**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        sent = self.client.patch(made.headers["Location"], content=content, headers=chunk)
        assert sent.status_code == 204, sent.text

    def look(self) -> None:
        """What offices and handhelds read: photographs, verdicts with evidence, notices, counts, metrics."""
        desk = self.world.office("supervisor")
        for photo_id, handheld in itertools.product(self.photos, self.first[:1]):
            for path in ("", "/large", "/thumb", "/thumb.webp"):
                self.client.get(f"/media/v1/photos/{photo_id}{path}", headers=handheld.headers)
        for one in self.every(50):
            listed = self.client.get(
                "/checks/v1/verdicts", params={"document_id": self.people[one.number]["id"]}, headers=desk
            )
            for verdict in listed.json() if listed.is_success else ():
                self.client.get(f"/checks/v1/verdicts/{verdict['id']}", headers=desk)
        for one in self.every(100):
            self._search(one, desk)
        self._review(desk)
        for handheld in (*self.first, *self.second):
            self.client.get("/notices/v1/inbox", headers=handheld.headers)
        for path in ("/metrics", "/overview/v1/counts", "/checks/v1/summary", "/cases/v1/summary", "/openapi.json"):
            self.client.get(path, headers=desk)

    def _review(self, desk: dict[str, str]) -> None:
        """Conflicts and quarantined rows, masked; one of each in the clear."""
        why = {"reason": "verifying_entry", "note": self.everyone[0].text()}
        for things, key in (("conflicts", "conflicts"), ("quarantine", "rows")):
            path = f"/reviews/v1/{things}"
            listed = self.client.get(path, params={"limit": 200}, headers=desk)
            found = listed.json()[key]
            assert found, path
            for thing in found[:40]:
                self.client.get(f"{path}/{thing['id']}", headers=desk)
            shown = self.client.post(f"{path}/{found[0]['id']}/unmask", json=why, headers=desk)
            assert shown.status_code == 200, shown.text
            self.client.get(f"{path}/counts", headers=desk)

    def export(self) -> None:
        """Tables leave the system, masked, for a purpose that names somebody; one person gets what is held of him."""
        one = self.everyone[0]
        for role, what in (("supervisor", "cases"), ("supervisor", "verdicts"), ("data_steward", "records")):
            caller = self.world.office(role)
            for kind in ("person", "house", "event") if what == "records" else (None,):
                asked = {"what": what, "purpose_code": "inspection", "purpose": one.text(), "filters": {"kind": kind}}
                self._file("/exports/v1", asked if kind else {**asked, "filters": {}}, caller)
        steward = self.world.office("data_steward")
        asked = {
            "what": "dataset",
            "purpose_code": "inspection",
            "purpose": one.text(),
            "filters": {"dataset": "permits"},
        }
        self._file("/exports/v1", asked, steward)
        self._reconcile()
        subject = {"id_type": "citizen_id", "id_number": one.id_number}
        asked = {"subject": subject, "reason": "subject_request"}
        self._file("/life/v1/access-requests", asked, steward)

    def _reconcile(self) -> None:
        """Everybody against the whole register; what was found leaves as a table."""
        steward, runs = self.world.office("data_steward"), "/reconciliations/v1/runs"
        run = self.client.post(runs, json={"dataset": "population"}, headers=steward)
        assert run.status_code == 202, run.text
        place = f"{runs}/{run.json()['id']}"
        until(lambda: self.client.get(place, headers=steward).json()["state"] == "done", seconds=240, what=place)
        report = self.client.get(f"{place}/report", headers=steward).json()
        assert report["totals"]["by_key"], report["totals"]
        for chart in ("outcomes", "coverage", "fields"):
            self.client.get(f"{place}/charts/{chart}", headers=steward)
        for what in ("reconciliation_links", "reconciliation_grids"):
            filters = {"reconciliation_id": run.json()["id"]}
            asked = {"what": what, "purpose_code": "quality", "purpose": self.everyone[0].text(), "filters": filters}
            self._file("/exports/v1", asked, steward)

    def _file(self, path: str, asked: Json, caller: dict[str, str]) -> None:
        """Ask for a file that a job makes, and fetch it."""
        answer = self.client.post(path, json=asked, headers=caller)
        assert answer.status_code == 202, answer.text
        place = f"{path}/{answer.json()['id']}"

        def ready() -> bool:
            return bool(self.client.get(place, headers=caller).json()["state"] == "ready")

        until(ready, seconds=240, what=f"{path} ready")
        fetched = self.client.get(f"{place}/file", headers=caller)
        assert fetched.status_code == 200, fetched.text

    def _search(self, one: Identity, desk: dict[str, str]) -> None:
        """A person is found by a whole number, shown masked, and in full for a reason that names somebody too."""
        for sought in ({"id_type": "citizen_id", "id_number": one.id_number}, {"phone": one.phone}):
            found = self.client.post("/records/v1/search", json=sought, headers=desk)
            assert found.json()["hits"], found.text
        place = f"/records/v1/documents/{self.people[one.number]['id']}"
        self.client.get(place, headers=desk)
        asked = {"fields": ["name", "id_number", "phone"], "reason": "handling_case", "note": one.text()}
        full = self.client.post(f"{place}/unmask", json=asked, headers=desk)
        assert full.json()["values"]["id_number"] == one.id_number, full.text

    def handle_cases(self, most: int) -> int:
        """A supervisor takes cases to their end, with notes about the people in them; gives how many."""
        desk = self.world.office("supervisor")
        page = self.client.get("/cases/v1/cases", params={"limit": min(most, 200)}, headers=desk).json()
        notes = itertools.cycle(self.everyone)
        for case in page["cases"][:most]:
            path = f"/cases/v1/cases/{case['id']}"
            for action, body in STEPS:
                tag = self.client.get(path, headers=desk).headers["ETag"]
                noted = {**body, "note": next(notes).text()}
                self.client.post(f"{path}/actions/{action}", json=noted, headers={**desk, "If-Match": tag})
            # An action that the case does not allow any more, and one with text where a code belongs.
            self.client.post(
                f"{path}/actions/claim", json={"note": next(notes).text()}, headers={**desk, "If-Match": '"1"'}
            )
            bad = {"department_code": next(notes).text(), "reason": next(notes).phone}
            self.client.post(f"{path}/actions/dispatch", json=bad, headers={**desk, "If-Match": '"1"'})
        return len(page["cases"])


STEPS: tuple[tuple[str, Json], ...] = (
    ("claim", {}),
    ("dispatch", {"department_code": "urban-management", "reason": "responsible_unit"}),
    ("close", {"outcome": "resolved", "reason": "confirmed_on_site"}),
)


def push(handheld: Handheld, kind: str, rows: Iterable[str]) -> None:
    """Push rows, given as JSON text, in batches as handhelds do."""
    for some in _batches(rows):
        answer = handheld.client.post(f"/sync/v1/{kind}/push", content=_body(some), headers=handheld.headers)
        assert answer.status_code == 200, answer.text


def _batches(rows: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(rows)
    while some := list(itertools.islice(remaining, BATCH)):
        yield some


def _body(rows: Sequence[str]) -> bytes:
    return ('{"rows":[' + ",".join(rows) + "]}").encode()


def _bare(document_id: str, grid: str) -> Json:
    return {"id": document_id, "grid_id": grid, "name": "x", "op": str(uuid4()), "_deleted": False}
