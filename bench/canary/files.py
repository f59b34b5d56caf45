"""What else is written about canaries: departments' CSV files, and photographs that say where and whose they are."""

import csv
import io
from collections.abc import Sequence

from PIL import ExifTags, Image

from backend.kinds.geodesy import SCALE
from bench.canary.people import Identity
from tests.rooms.media_samples import gradient

POPULATION = ["证件类型", "证件号码", "姓名", "性别", "出生日期", "联系电话", "户籍地址", "现住地址", "网格编码"]
HOUSES = [
    "house_code",
    "地址",
    "出租情况",
    "产权人姓名",
    "产权人证件类型",
    "产权人证件号码",
    "产权人联系电话",
    "纬度",
    "经度",
    "网格编码",
]
SEXES = ("女", "男")
PERMITS = {"id_type": "证件种类", "id_number": "证件号", "name": "姓名", "address": "住址", "remark": "备注"}
"""The columns of a dataset of a department's own, by field."""


def population(everyone: Sequence[Identity], grids: Sequence[str]) -> bytes:
    """The register of residents: a good row for everybody, and refused ones for every tenth."""
    rows = []
    for one in everyone:
        grid = grids[one.number % len(grids)]
        good = [
            "居民身份证",
            one.id_number,
            one.name,
            SEXES[one.number % 2],
            one.birth_date,
            one.phone,
            one.address,
            one.address,
            grid,
        ]
        rows.append(good)
        if one.number % 10 == 0:
            rows += [
                [*good[:1], one.id_number[:-1] + ("0" if one.id_number[-1] != "0" else "1"), *good[2:]],
                [*good[:-1], one.text()],
                [*good[:3], one.text(), *good[4:]],
                [*good[:4], one.text(), *good[5:]],
                [*good, one.text()],
                good,
            ]
    return _csv(POPULATION, rows)


def permits(everyone: Sequence[Identity]) -> bytes:
    """Everybody by another's name, so that the cross-check finds that sources differ."""
    named = zip(everyone, [*everyone[1:], *everyone[:1]], strict=True)
    rows = [["居民身份证", one.id_number, other.name, one.address, one.text()] for one, other in named]
    return _csv(list(PERMITS.values()), rows)


def houses(everyone: Sequence[Identity], grids: Sequence[str]) -> bytes:
    """Dwellings with their owners and exact places; every tenth row is refused for its grid."""
    rows = []
    for one in everyone:
        grid = grids[one.number % len(grids)]
        rows.append(
            [
                f"{grid}{one.number:010d}",
                f"合成市公开路{one.number + 1}号",
                "出租",
                one.name,
                "居民身份证",
                one.id_number,
                one.phone,
                f"{one.lat / SCALE:.7f}",
                f"{one.lon / SCALE:.7f}",
                grid if one.number % 10 else "4" * 15,
            ]
        )
    return _csv(HOUSES, rows)


def bad_header(one: Identity) -> bytes:
    """A file whose header names somebody."""
    return _csv([*POPULATION[:-1], one.text()], [[one.text()] * len(POPULATION)])


def photo(one: Identity) -> bytes:
    """A JPEG that carries its canary in EXIF, GPS, XMP and a comment, and in no pixel."""
    out, tags = io.BytesIO(), Image.Exif()
    tags[ExifTags.Base.ImageDescription] = one.text().encode().decode("latin-1")
    tags[ExifTags.Base.Artist] = one.id_number
    place = tags.get_ifd(ExifTags.IFD.GPSInfo)
    place[1], place[2] = "N", _degrees(one.lat / SCALE)
    place[3], place[4] = "E", _degrees(one.lon / SCALE)
    detail = tags.get_ifd(ExifTags.IFD.Exif)
    detail[ExifTags.Base.UserComment] = b"ASCII\0\0\0" + one.phone.encode()
    image = gradient(320 + one.number % 40, 240)
    image.save(out, "JPEG", exif=tags, comment=one.text().encode(), xmp=f"<x>{one.text()}</x>".encode())
    return out.getvalue()


def _degrees(angle: float) -> tuple[float, float, float]:
    whole = int(angle)
    minutes = int((angle - whole) * 60)
    return float(whole), float(minutes), round((angle - whole - minutes / 60) * 3600, 6)


def _csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().encode()
