"""Access tokens and proofs as attackers make them, from a genuine one: each with a name, none of which may be taken.

`secret` is the server's own key, which no attacker has. It is used for tokens that are rightly signed and wrong in
something else; for those that have to do without it, the attacker brings a key of his own.
"""

import base64
import hashlib
import hmac
import json
import math
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Json = dict[str, Any]
Named = tuple[str, str]

NONE_WORDS = ("none", "None", "NONE", "nOnE", "")
GUESSED_KEYS = (b"", b"\x00", b"secret", b"zhiwang", b"null", b"None", b"HS256", b"\x00" * 32)


def b64(content: bytes) -> str:
    """Base64 as tokens write it."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def signed(header: Json, claims: Json, key: bytes, *, digest: str = "sha256") -> str:
    """A token with any header and claims, signed by HMAC: libraries refuse to make most of these."""
    body = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{body}.{b64(hmac.digest(key, body.encode(), digest))}"


def parts_of(token: str) -> tuple[Json, Json]:
    """Header and claims, unchecked."""
    header, claims = (base64.urlsafe_b64decode(part + "==") for part in token.split(".")[:2])
    return json.loads(header), json.loads(claims)


def access_forgeries(
    genuine: str, *, secret: bytes, device_key: ec.EllipticCurvePrivateKey, other_sid: str
) -> Iterator[Named]:
    """Everything but a genuine token. `other_sid` is the session of another account."""
    header, claims = parts_of(genuine)
    yield from _without_signature(header, claims)
    yield from _confused(header, claims, secret, device_key)
    yield from _headers(header, claims, secret)
    yield from _times(header, claims, secret)
    yield from _claims(header, claims, secret, other_sid)
    yield from damaged(genuine)


def _without_signature(header: Json, claims: Json) -> Iterator[Named]:
    body = b64(json.dumps(claims).encode())
    for word in NONE_WORDS:
        head = b64(json.dumps({**header, "alg": word}).encode())
        yield f"alg {word!r}, no signature", f"{head}.{body}."
        yield f"alg {word!r}, any signature", f"{head}.{body}.{b64(b'x' * 32)}"
    yield "no alg", f"{b64(json.dumps({'typ': header['typ']}).encode())}.{body}."
    yield "alg HS256, no signature", f"{b64(json.dumps(header).encode())}.{body}."


def _confused(header: Json, claims: Json, secret: bytes, device_key: ec.EllipticCurvePrivateKey) -> Iterator[Named]:
    public = device_key.public_key()
    shapes = {
        "PEM": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "point": public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
    }
    for name, key in shapes.items():
        for variant in (key, key.strip(), hashlib.sha256(key).digest()):
            yield f"HS256 with the public key as {name}", signed(header, claims, variant)
    for guess in GUESSED_KEYS:
        yield f"HS256 with the key {guess!r}", signed(header, claims, guess)
    for algorithm, digest in (("HS384", "sha384"), ("HS512", "sha512")):
        yield f"{algorithm} with the right key", signed({**header, "alg": algorithm}, claims, secret, digest=digest)
    yield "ES256 by a device", jwt.encode(claims, device_key, algorithm="ES256", headers={"typ": header["typ"]})
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for algorithm in ("RS256", "PS256"):
        yield f"{algorithm} by a stranger", jwt.encode(claims, own, algorithm=algorithm, headers={"typ": header["typ"]})
    for alg in ("ES256", "RS256", "EdDSA", "hs256", "HS256 ", 1, None, ["HS256"]):
        yield f"right signature, alg says {alg!r}", signed({**header, "alg": alg}, claims, secret)


def _headers(header: Json, claims: Json, secret: bytes) -> Iterator[Named]:
    own = ec.generate_private_key(ec.SECP256R1())
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(own.public_key()))
    shared = b"a key of the attacker's own"
    extras: list[Json] = [
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"crit": ["unknown"], "unknown": 1},
        {"kid": "../../../../dev/null"},
        {"kid": "' UNION SELECT 'a key of the attacker''s own' --"},
        {"kid": "http://127.0.0.1:9/key"},
        {"kid": "1"},
        {"kid": {"a": 1}},
        {"jku": "http://127.0.0.1:9/jwks.json"},
        {"x5u": "http://127.0.0.1:9/cert.pem"},
        {"x5c": ["MIIB"]},
        {"jwk": jwk},
        {"jwk": {"kty": "oct", "k": b64(shared)}},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"typ": "JWT"},
        {"typ": "dpop+jwt"},
        {"typ": None},
    ]
    for extra in extras:
        name = json.dumps(extra)[:48]
        head = {**header, **extra}
        yield f"header {name}, rightly signed", signed(head, claims, secret)
        yield f"header {name}, empty key", signed(head, claims, b"")
        yield f"header {name}, own key", signed(head, claims, shared)
        if isinstance(extra.get("crit"), list):
            continue
        head = {key: value for key, value in head.items() if key not in {"alg", "typ"}}
        yield f"header {name}, own ES256 key", jwt.encode(claims, own, algorithm="ES256", headers=_strings(head))


def _strings(header: Json) -> Json:
    """What the library agrees to put into a header."""
    return {
        key: value if isinstance(value, str | dict | list) and key != "kid" else str(value)
        for key, value in header.items()
    }


def _times(header: Json, claims: Json, secret: bytes) -> Iterator[Named]:
    moment = int(time.time())
    changes: list[Json] = [
        *({"exp": moment - ago} for ago in (1, 60, 3600, 10 * 365 * 86400)),
        {"exp": 0},
        {"exp": -1},
        {"exp": "tomorrow"},
        {"exp": None},
        {"exp": [moment + 600]},
        {"exp": math.nan},
        {"nbf": moment + 3600},
        {"iat": moment + 3600, "exp": moment + 7200},
        {"iat": "now"},
    ]
    for change in changes:
        yield f"times {change}", signed(header, {**claims, **change}, secret)


def _claims(header: Json, claims: Json, secret: bytes, other_sid: str) -> Iterator[Named]:
    for name in claims:
        if name != "nbf":
            yield f"no {name}", signed(header, {key: value for key, value in claims.items() if key != name}, secret)
    wrong: dict[str, list[Any]] = {
        "aud": ["other", "", None, [], ["other"], ["zhiwang", "other"], 1],
        "iss": ["other", "", None, ["zhiwang"]],
        "token_use": ["refresh", "proof", "", None, 1],
        "sid": [str(uuid4()), other_sid, "", None, 1, [], {"a": 1}, "../..", "' OR 1=1 --"],
        "sub": [str(uuid4()), "", None, 1, "admin"],
    }
    for name, values in wrong.items():
        for value in values:
            yield f"{name} {value!r}"[:60], signed(header, {**claims, name: value}, secret)


def damaged(token: str) -> Iterator[Named]:
    """The token with one bit turned, at every place of it, and cut off at every length."""
    head, body, signature = token.split(".")
    for part, (name, text) in enumerate((("header", head), ("claims", body), ("signature", signature))):
        raw = base64.urlsafe_b64decode(text + "==")
        for position in range(len(raw)):
            turned = bytearray(raw)
            turned[position] ^= 1 << (position % 8)
            pieces = [head, body, signature]
            pieces[part] = b64(bytes(turned))
            yield f"a bit of the {name} turned at {position}", ".".join(pieces)
    for length in range(1, len(token), 7):
        yield f"cut off after {length}", token[:length]
    yield "signature twice", f"{token}.{signature}"
    yield "deep header", f"{b64(b'[' * 20_000)}.{body}.{signature}"


def proof_forgeries(
    refresh_token: str, *, other_token: str, device_key: ec.EllipticCurvePrivateKey
) -> Iterator[tuple[str, str | None]]:
    """Proofs for a stolen refresh token by who has not the device's key; `device_key` is used for its public half, and
    for proofs that name something else."""
    own = ec.generate_private_key(ec.SECP256R1())
    claims = {"aud": "zhiwang", "iat": int(time.time()), "rt": refresh_token}
    header = {"alg": "HS256", "typ": "JWT"}
    public = device_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    yield "no proof", None
    yield "empty proof", ""
    yield "proof by another key", jwt.encode(claims, own, algorithm="ES256")
    yield "proof by HMAC with the public key", signed(header, claims, public)
    yield "proof by HMAC with an empty key", signed(header, claims, b"")
    for word in NONE_WORDS:
        head, body = b64(json.dumps({"alg": word}).encode()), b64(json.dumps(claims).encode())
        yield f"proof with alg {word!r}", f"{head}.{body}."
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(own.public_key()))
    yield "proof that brings its key", jwt.encode(claims, own, algorithm="ES256", headers={"jwk": jwk})
    yield "proof of another token", jwt.encode({**claims, "rt": other_token}, device_key, algorithm="ES256")
    yield "proof of no token", jwt.encode({"aud": "zhiwang"}, device_key, algorithm="ES256")
    yield "proof for another audience", jwt.encode({**claims, "aud": "other"}, device_key, algorithm="ES256")
    yield "proof of a list", jwt.encode({**claims, "rt": [refresh_token]}, device_key, algorithm="ES256")
    genuine = jwt.encode(claims, device_key, algorithm="ES256")
    yield "proof cut off", genuine[:-6]
    yield "proof with a turned bit", f"{genuine[:-4]}{'A' if genuine[-4] != 'A' else 'B'}{genuine[-3:]}"
