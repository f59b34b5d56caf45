"""Attack logins and tokens of a real API over HTTP: `make attack-tokens`.

A stack of its own (`bench.served`). The attackers know the formats, hold accounts and handhelds of their own and
captured traffic of others, and have not the server's key: that is used only for tokens that are rightly signed and
wrong in something else. Refused means 4xx. What is counted as accepted: any other answer.

    python -m bench.attack_tokens [--flood N] [--guesses N] [--revocations N] [--seed N]

Ends with `RESULT tried=… accepted=…`, and how the honest logins fared during the flood.
"""

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from bench.served import Served, served
from bench.token_forgeries import access_forgeries, b64, parts_of, proof_forgeries
from tests.world import DeviceKey, Handheld, World, document

INBOX = "/notices/v1/inbox"
CODE_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
FLOOD_ADDRESS = "127.0.0.66"
SPREAD_ADDRESSES = 40
AT_ONCE = 24
"""Attackers at the same time."""


@dataclass
class Tally:
    """What was tried, and what was taken though it must not be."""

    tried: int = 0
    accepted: list[str] = field(default_factory=list)
    by_attack: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, attack: str, name: str, status: int) -> None:
        """Count one attempt by the status of its answer."""
        with self._lock:
            self.tried += 1
            self.by_attack[attack] = self.by_attack.get(attack, 0) + 1
            if not 400 <= status < 500:
                self.accepted.append(f"{attack}: {name} ({status})")


@dataclass
class Attackers:
    """The attacks, over one client or more. `secret` is the server's own key."""

    world: World
    secret: bytes
    tally: Tally = field(default_factory=Tally)

    @property
    def client(self) -> Any:
        """The client of the world."""
        return self.world.client

    def _bearer(self, attack: str, name: str, token: str) -> None:
        try:
            answer = self.client.get(INBOX, headers={"Authorization": f"Bearer {token}"})
        except (UnicodeEncodeError, httpx.LocalProtocolError):
            return  # no client can send it
        self.tally.note(attack, name, answer.status_code)

    def _refresh(self, attack: str, name: str, token: Any, proof: Any) -> None:
        answer = self.client.post("/auth/v1/refresh", json={"refresh_token": token, "proof": proof})
        self.tally.note(attack, name, answer.status_code)

    def access_tokens(self) -> None:
        """Forged, altered, stale and misused access tokens; the genuine one goes on working."""
        office, handheld = self.world.office("supervisor"), self.world.handheld()
        genuine = office["Authorization"].removeprefix("Bearer ")
        _, other = parts_of(handheld.tokens["access_token"])
        forged = access_forgeries(
            genuine, secret=self.secret, device_key=handheld.key.private, other_sid=str(other["sid"])
        )
        for name, token in forged:
            self._bearer("access token", name, token)
        refresh_token = str(handheld.tokens["refresh_token"])
        misused = {"refresh token": refresh_token, "proof": handheld.key.proof(refresh_token), "nothing": ""}
        for name, token in misused.items():
            self._bearer("access token", f"{name} as access token", token)
        for name in ("access_token", "refresh_token"):
            self._refresh("refresh", f"{name} without proof", handheld.tokens[name], None)
        proof = handheld.key.proof(refresh_token)
        self._refresh("refresh", "proof as refresh token", proof, proof)
        self._refresh("refresh", "access token as proof", refresh_token, handheld.tokens["access_token"])
        assert self.client.get(INBOX, headers=office).status_code == 200

    def stolen_refresh_tokens(self) -> None:
        """A refresh token without the device's key opens nothing, and the device goes on."""
        victim, thief = self.world.handheld(), self.world.handheld(self.world.workers()[1])
        token = str(victim.tokens["refresh_token"])
        forged = proof_forgeries(token, other_token=thief.tokens["refresh_token"], device_key=victim.key.private)
        for name, proof in forged:
            self._refresh("stolen refresh", name, token, proof)
        self._refresh("stolen refresh", "proof by another device", token, thief.key.proof(token))
        family, generation, mac = token.split(".")
        _, _, foreign = str(thief.tokens["refresh_token"]).split(".")
        guessed = {
            "next generation": f"{family}.{int(generation) + 1}.{mac}",
            "other family": f"{uuid4().hex}.{generation}.{mac}",
            "foreign mac": f"{family}.{generation}.{foreign}",
            "no mac": f"{family}.{generation}.",
            "empty mac": f"{family}.{generation}",
            "negative generation": f"{family}.-1.{mac}",
            "random mac": f"{family}.{generation}.{b64(uuid4().bytes * 2)}",
            "digits of another script": f"{family}.٠.{mac}",
        }
        for name, guess in guessed.items():
            self._refresh("stolen refresh", name, guess, victim.key.proof(guess))
        assert self._step(victim).status_code == 200, "the device goes on"

    def replayed_refresh_tokens(self, generations: int = 5) -> None:
        """Every older generation, captured with its proof, is refused, and ends the session for the thief as well."""
        for replayed in range(generations - 1):
            victim = self.world.handheld()
            captured = [dict(victim.tokens, proof=victim.key.proof(victim.tokens["refresh_token"]))]
            for _ in range(generations):
                assert self._step(victim).status_code == 200
                captured.append(dict(victim.tokens, proof=victim.key.proof(victim.tokens["refresh_token"])))
            old = captured[replayed]
            self._refresh("replay", f"generation {replayed} of {generations}", old["refresh_token"], old["proof"])
            for name in ("access_token", "newest access token"):
                token = old["access_token"] if name == "access_token" else captured[-1]["access_token"]
                self._bearer("replay", f"{name} after generation {replayed} came back", token)
            newest = captured[-1]
            self._refresh("replay", "the newest after a reuse", newest["refresh_token"], newest["proof"])

    def replayed_office_tokens(self) -> None:
        """The same without a device."""
        entry = next(entry for entry in self.world.logins.values() if entry.role == "supervisor")
        tokens = self.client.post("/auth/v1/login", json={"login": entry.login, "password": entry.password}).json()
        chain = [tokens["refresh_token"]]
        for _ in range(3):
            answer = self.client.post("/auth/v1/refresh", json={"refresh_token": chain[-1]})
            assert answer.status_code == 200, answer.text
            chain.append(answer.json()["refresh_token"])
        for token in (chain[0], chain[3], chain[2]):
            self._refresh("replay", "an office login's older token, then those after it", token, None)

    def enrolment_codes(self, *, guesses: int, draw: random.Random) -> None:
        """A code is good once, for one of many at the same time, and cannot be guessed."""
        supervisor = self.world.office("supervisor")

        def enrol(code: str) -> Any:
            body = {"code": code, "device_name": "attacker", "public_key": DeviceKey().jwk()}
            return self.client.post("/auth/v1/enrol", json=body)

        def new_code() -> str:
            login = self.world.workers()[2]
            issued = self.client.post("/auth/v1/enrolment-codes", json={"login": login}, headers=supervisor)
            assert issued.status_code == 201, issued.text
            return str(issued.json()["code"])

        code = new_code()
        assert enrol(code).status_code == 201
        for spelling in (code, code.lower(), f" {code} ", f"{code}\n"):
            self.tally.note("enrolment code", "used again", enrol(spelling).status_code)
        contested = new_code()
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda _: enrol(contested).status_code, range(8)))
        assert statuses.count(201) >= 1, statuses
        statuses.remove(201)
        for status in statuses:
            self.tally.note("enrolment code", "used by eight at once", status)
        open_code = new_code()
        for _ in range(guesses):
            guess = "".join(draw.choice(CODE_LETTERS) for _ in range(len(open_code)))
            if guess != open_code:
                self.tally.note("enrolment code", "guessed", enrol(guess).status_code)

    def revoked_devices(self, *, times: int, draw: random.Random) -> None:
        """A device revoked at a random point of its life: whatever it begins after that is refused."""
        for _ in range(times):
            victim = self.world.handheld(draw.choice(self.world.workers()))
            supervisor = self.world.office("supervisor")
            steps = [self._push, self._pull, self._upload, self._step, self._outcomes]
            for step in draw.choices(steps, k=draw.randrange(6)):
                step(victim)
            upload = self._begin_upload(victim)
            device = victim.tokens["device_id"]
            stop = threading.Event()
            begun_after: list[tuple[str, int]] = []
            revoked = threading.Event()
            # Other requests of the device are under way while it is revoked.
            busy = threading.Thread(target=self._keep_busy, args=(victim, stop, revoked, begun_after))
            busy.start()
            time.sleep(draw.random() * 0.1)
            answer = self.client.post(f"/devices/v1/devices/{device}/revoke", headers=supervisor)
            revoked.set()
            assert answer.status_code == 200, answer.text
            for step in steps:
                self.tally.note("revoked device", step.__name__.strip("_"), step(victim).status_code)
            status = self._continue_upload(victim, upload).status_code
            self.tally.note("revoked device", "an upload it had begun", status)
            stop.set()
            busy.join()
            for name, status in begun_after:
                self.tally.note("revoked device", name, status)

    def _keep_busy(
        self, victim: Handheld, stop: threading.Event, revoked: threading.Event, after: list[tuple[str, int]]
    ) -> None:
        while not stop.is_set():
            over = revoked.is_set()
            status = self._pull(victim).status_code
            if over:
                after.append(("pull beside others", status))

    def _push(self, device: Handheld) -> Any:
        row = {"newDocumentState": document("440310001001001", class_code="0101")}
        return self.client.post("/sync/v1/event/push", json={"rows": [row]}, headers=device.headers)

    def _pull(self, device: Handheld) -> Any:
        return self.client.get("/sync/v1/event/pull", headers=device.headers)

    def _outcomes(self, device: Handheld) -> Any:
        return self.client.get("/sync/v1/outcomes", headers=device.headers)

    def _step(self, device: Handheld) -> Any:
        """The device's own refresh."""
        token = device.tokens["refresh_token"]
        answer = self.client.post("/auth/v1/refresh", json={"refresh_token": token, "proof": device.key.proof(token)})
        if answer.status_code == 200:
            device.tokens = {**device.tokens, **answer.json()}
        return answer

    def _upload(self, device: Handheld) -> Any:
        return self._begin_upload(device)

    def _begin_upload(self, device: Handheld) -> Any:
        words = {"photo_id": str(uuid4()), "sha256": "0" * 64, "mime": "image/jpeg"}
        metadata = ",".join(f"{name} {_standard_b64(value)}" for name, value in words.items())
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "4", "Upload-Metadata": metadata}
        return self.client.post("/media/v1/uploads", headers={**device.headers, **headers})

    def _continue_upload(self, device: Handheld, upload: Any) -> Any:
        headers = {
            "Tus-Resumable": "1.0.0",
            "Upload-Offset": "0",
            "Content-Type": "application/offset+octet-stream",
        }
        place = upload.headers["Location"]
        return self.client.patch(place, content=b"abcd", headers={**device.headers, **headers})


def _standard_b64(text: str) -> str:
    padded = b64(text.encode()).replace("-", "+").replace("_", "/")
    return padded + "=" * (-len(padded) % 4)


@dataclass
class Honest:
    """How people who may log in fared."""

    well: int = 0
    asked_to_wait: int = 0
    slowest_s: float = 0.0


def _from(stack: Served, address: str) -> httpx.Client:
    """A client at an address of its own: all of 127.0.0.0/8 is this machine."""
    return httpx.Client(
        base_url=stack.url, timeout=60, transport=httpx.HTTPTransport(local_address=address, trust_env=False)
    )


def flood(stack: Served, world: World, tally: Tally, *, attempts: int) -> Honest:
    """Wrong passwords, half of them from one address and half spread over many, while an honest person logs in."""
    owner = next(entry for entry in world.logins.values() if entry.role == "dispatcher")
    over, honest = threading.Event(), Honest()

    def log_in() -> None:
        with _from(stack, "127.0.0.10") as client:
            while not over.is_set():
                began = time.monotonic()
                answer = client.post("/auth/v1/login", json={"login": owner.login, "password": owner.password})
                honest.slowest_s = max(honest.slowest_s, time.monotonic() - began)
                if answer.status_code == 200:
                    honest.well += 1
                else:
                    honest.asked_to_wait += 1
                over.wait(1.0)

    people = threading.Thread(target=log_in)
    people.start()
    addresses = [FLOOD_ADDRESS, *(f"127.0.1.{number}" for number in range(1, SPREAD_ADDRESSES + 1))]
    clients = {address: _from(stack, address) for address in addresses}

    def attempt(number: int) -> None:
        spread = number % 2 == 1
        address = addresses[1 + number // 2 % SPREAD_ADDRESSES] if spread else FLOOD_ADDRESS
        login = owner.login if number % 4 < 3 else f"nobody-{number}"
        body = {"login": login, "password": f"guess-{number}"}
        try:
            status = clients[address].post("/auth/v1/login", json=body).status_code
        except httpx.TransportError:
            status = 499  # not even answered
        tally.note("login flood", "a guessed password", status)

    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(attempt, range(attempts)))
    finally:
        over.set()
        people.join()
        for client in clients.values():
            client.close()
    return honest


def _steps(attackers: Attackers, options: argparse.Namespace) -> Iterator[Callable[[], None]]:
    draw = random.Random(options.seed)
    yield attackers.access_tokens
    yield attackers.stolen_refresh_tokens
    yield attackers.replayed_refresh_tokens
    yield attackers.replayed_office_tokens
    yield lambda: attackers.enrolment_codes(guesses=options.guesses, draw=draw)
    yield lambda: attackers.revoked_devices(times=options.revocations, draw=draw)


def main() -> int:
    """All attacks, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flood", type=int, default=10_000)
    parser.add_argument("--guesses", type=int, default=2_000)
    parser.add_argument("--revocations", type=int, default=40)
    parser.add_argument("--seed", type=int, default=20261125)
    options, began = parser.parse_args(), time.monotonic()
    # Attackers would only be slowed down by the rates, and most of their tokens were never looked at: no rates here.
    with served() as stack, _from(stack, "127.0.0.1") as client:
        attackers = Attackers(World(client), secret=stack.environment["TOKEN_SECRET"].encode())  # type: ignore[arg-type]
        for step in _steps(attackers, options):
            step()
    with served(RATE_LOGIN="300/minute") as stack, _from(stack, "127.0.0.1") as client:
        honest = flood(stack, World(client), attackers.tally, attempts=options.flood)  # type: ignore[arg-type]
    for attack, number in sorted(attackers.tally.by_attack.items()):
        print(f"{attack:<16} {number}")
    for name in attackers.tally.accepted[:50]:
        print(f"ACCEPTED {name}")
    print(
        f"RESULT tried={attackers.tally.tried} accepted={len(attackers.tally.accepted)} honest_logins={honest.well} "
        f"honest_asked_to_wait={honest.asked_to_wait} honest_slowest_s={honest.slowest_s:.1f} seed={options.seed} "
        f"seconds={time.monotonic() - began:.0f}"
    )
    return 1 if attackers.tally.accepted or not honest.well else 0


if __name__ == "__main__":
    sys.exit(main())
