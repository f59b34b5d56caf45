"""Tampering with the anchor outside the database, and explaining a cut by a fork that nobody signed."""

import base64
import json
from hashlib import sha256
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlmodel import Session

from backend.services.audit_locate import Wrong
from bench.tampering.trail import Expected, Trail, any_of, remove_batches, run, tampering


@tampering
def change_a_byte_of_the_anchor(_: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    index = random.randrange(len(trail.lines))
    line = bytearray(trail.lines[index])
    at = random.randrange(len(line) - 1)
    line[at] ^= 1 << random.randrange(7)
    lines = [*trail.lines[:index], bytes(line), *trail.lines[index + 1 :]]
    return Expected(any_of(Wrong.ANCHOR_ALTERED), max(index, 1)), trail.altered(lines)


@tampering
def take_a_line_out_of_the_anchor(_: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    index = random.randrange(len(trail.lines) - 1)
    lines = [*trail.lines[:index], *trail.lines[index + 1 :]]
    return Expected(any_of(Wrong.ANCHOR_ALTERED), max(index, 1)), trail.altered(lines)


@tampering
def cut_off_the_anchor(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    kept = random.randrange(len(trail.lines))
    if random.random() < 0.5:
        run(session, "UPDATE server_state SET value = :n WHERE name = 'audit_anchored'", n=str(max(kept - 1, 0)))
    return Expected(any_of(Wrong.ANCHOR_CUT_OFF), max(kept, 1), 0), trail.altered(trail.lines[:kept])


@tampering
def swap_lines_of_the_anchor(_: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    one, two = sorted(random.sample(range(len(trail.lines)), 2))
    lines = list(trail.lines)
    lines[one], lines[two] = lines[two], lines[one]
    return Expected(any_of(Wrong.ANCHOR_ALTERED), max(one, 1)), trail.altered(lines)


@tampering
def repeat_a_line_of_the_anchor(_: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    index = random.randrange(len(trail.lines))
    at = random.choice([n for n in range(1, len(trail.lines) + 1) if n != index])
    lines = [*trail.lines[:at], trail.lines[index], *trail.lines[at:]]
    return Expected(any_of(Wrong.ANCHOR_ALTERED), at), trail.altered(lines)


@tampering
def fork_without_the_key(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    """Cut the database off and explain it by a fork that the trail's key did not sign."""
    last = random.randint(1, len(trail.batches) - 1)
    remove_batches(session, "> :last", last=last)
    body = json.loads(trail.lines[last])
    line = {
        "kind": "fork",
        "line": len(trail.lines) + 1,
        "previous_line": sha256(trail.lines[-1][:-1]).hexdigest(),
        "number": last,
        "head": body["head"],
        "parent": last + 1,
        "at": 0,
        "reason": "restore",
        "backup_id": "none",
    }
    raw = json.dumps(line, separators=(",", ":")).encode()
    signature = base64.b64encode(Ed25519PrivateKey.generate().sign(raw))
    lines = [*trail.lines, raw[:-1] + b',"signature":"' + signature + b'"}\n']
    return Expected(any_of(Wrong.ANCHOR_ALTERED), len(trail.batches) + 1), trail.altered(lines)
