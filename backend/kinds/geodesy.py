"""Coordinates: datum conversion to WGS-84 and distances. Pure arithmetic.

GCJ-02 is the obfuscated datum of maps in mainland China; its published approximation is inverted here by fixed-point
iteration to below 1e-7 degree. BD-09 is a further shift on top of it. CGCS2000 differs from WGS-84 by centimetres and
is taken as equal.
"""

from math import asin, atan2, cos, pi, radians, sin, sqrt

from backend.core.enums import Datum

SCALE = 10_000_000
EARTH_RADIUS_M = 6_371_008.8

_AXIS = 6_378_245.0
_ECCENTRICITY = 0.006_693_421_622_965_943
_BD_FACTOR = pi * 3000.0 / 180.0


def to_wgs84(lat: float, lon: float, datum: Datum) -> tuple[float, float]:
    """A point of any datum in WGS-84, in degrees."""
    if datum is Datum.BD09:
        lat, lon = _bd09_to_gcj02(lat, lon)
    if datum in (Datum.BD09, Datum.GCJ02):
        return _gcj02_to_wgs84(lat, lon)
    return lat, lon


def distance_m(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Great-circle distance in metres between two WGS-84 points given as (lat, lon) degrees."""
    lat_a, lat_b = radians(a[0]), radians(b[0])
    half = sin((lat_b - lat_a) / 2) ** 2 + cos(lat_a) * cos(lat_b) * sin(radians(b[1] - a[1]) / 2) ** 2
    return 2 * EARTH_RADIUS_M * asin(min(1.0, sqrt(half)))


def gcj02_from_wgs84(lat: float, lon: float) -> tuple[float, float]:
    """The GCJ-02 writing of a WGS-84 point, in degrees."""
    x, y = lon - 105.0, lat - 35.0
    shift_lat = _wave(x, y, -100.0, 2.0, 3.0, 0.2, 0.1, 0.2) + _ripple(x, 6.0, 2.0, 20.0)
    shift_lat += _ripple(y, 1.0, 1 / 3, 20.0, 40.0) + _long_ripple(y, 160.0, 320.0)
    shift_lon = _wave(x, y, 300.0, 1.0, 2.0, 0.1, 0.1, 0.1, square="x") + _ripple(x, 6.0, 2.0, 20.0)
    shift_lon += _ripple(x, 1.0, 1 / 3, 20.0, 40.0)
    shift_lon += (150.0 * sin(x / 12.0 * pi) + 300.0 * sin(x / 30.0 * pi)) * 2.0 / 3.0
    magic = 1 - _ECCENTRICITY * sin(radians(lat)) ** 2
    d_lat = shift_lat * 180.0 / (_AXIS * (1 - _ECCENTRICITY) / (magic * sqrt(magic)) * pi)
    d_lon = shift_lon * 180.0 / (_AXIS / sqrt(magic) * cos(radians(lat)) * pi)
    return lat + d_lat, lon + d_lon


def _wave(
    x: float, y: float, base: float, a: float, b: float, c: float, d: float, e: float, *, square: str = "y"
) -> float:
    squared = x * x if square == "x" else y * y
    return base + a * x + b * y + c * squared + d * x * y + e * sqrt(abs(x))


def _ripple(value: float, first: float, second: float, amplitude: float, other: float | None = None) -> float:
    other = amplitude if other is None else other
    return (amplitude * sin(first * value * pi) + other * sin(second * value * pi)) * 2.0 / 3.0


def _long_ripple(value: float, first: float, second: float) -> float:
    return (first * sin(value / 12.0 * pi) + second * sin(value * pi / 30.0)) * 2.0 / 3.0


def _gcj02_to_wgs84(lat: float, lon: float) -> tuple[float, float]:
    guess_lat, guess_lon = lat, lon
    for _ in range(8):
        there_lat, there_lon = gcj02_from_wgs84(guess_lat, guess_lon)
        guess_lat, guess_lon = guess_lat + lat - there_lat, guess_lon + lon - there_lon
    return guess_lat, guess_lon


def _bd09_to_gcj02(lat: float, lon: float) -> tuple[float, float]:
    x, y = lon - 0.0065, lat - 0.006
    radius = sqrt(x * x + y * y) - 0.00002 * sin(y * _BD_FACTOR)
    angle = atan2(y, x) - 0.000003 * cos(x * _BD_FACTOR)
    return radius * sin(angle), radius * cos(angle)
