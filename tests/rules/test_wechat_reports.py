"""How messages of one citizen become one report, as pure rules."""

import itertools
from datetime import UTC, datetime, timedelta
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.enums import PhotoState
from backend.kinds.geodesy import SCALE, distance_m, gcj02_from_wgs84
from workflows.channels.keywords import keywords
from workflows.channels.rules import (
    MAX_PHOTOS,
    Confirmation,
    Draft,
    Followed,
    Part,
    Picture,
    Place,
    Span,
    Unsupported,
    Words,
    belongs,
    came_late,
    class_of,
    due,
    masked,
    missing,
    part_of,
    sent_at,
    with_part,
    with_photo,
)

T0 = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
WINDOW = timedelta(seconds=120)
HERE = (22.5431, 114.0579)


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def built(*parts: tuple[float, Part]) -> Draft:
    """A draft of parts sent so many seconds after the start; the photo of part n is called `n`."""
    return reduce(
        lambda draft, item: with_part(draft, item[1][1], at=later(item[1][0]), photo_id=f"photo-{item[1][0]}"),
        enumerate(parts),
        Draft(),
    )


def test_a_location_is_read_as_latitude_first_and_turned_into_wgs84() -> None:
    lat, lon = gcj02_from_wgs84(*HERE)
    part = part_of({"MsgType": "location", "Location_X": str(lat), "Location_Y": str(lon)})
    assert isinstance(part, Place)
    assert distance_m((part.lat, part.lon), HERE) < 0.1
    assert distance_m((lat, lon), HERE) > 400


@pytest.mark.parametrize(
    ("lat", "lon"), [("nan", "1"), ("1", "inf"), ("91", "1"), ("1", "181"), ("", ""), ("x", "1"), ("1e400", "1")]
)
def test_a_location_that_is_none_is_kept_aside(lat: str, lon: str) -> None:
    assert part_of({"MsgType": "location", "Location_X": lat, "Location_Y": lon}) == Unsupported()


@pytest.mark.parametrize("text", ["提交", " 完成。", "确认！", "提交\n"])
def test_a_word_of_confirmation_is_recognised(text: str) -> None:
    assert part_of({"MsgType": "text", "Content": text}) == Confirmation()


def test_a_text_that_only_contains_the_word_is_a_text() -> None:
    assert part_of({"MsgType": "text", "Content": "我要提交一个问题"}) == Words("我要提交一个问题")


@pytest.mark.parametrize(
    ("message", "part"),
    [
        ({"MsgType": "image", "MediaId": "m1"}, Picture("m1")),
        ({"MsgType": "image"}, Unsupported()),
        ({"MsgType": "event", "Event": "subscribe"}, Followed()),
        ({"MsgType": "event", "Event": "pic_weixin"}, Unsupported()),
        ({"MsgType": "voice", "MediaId": "m1"}, Unsupported()),
        ({"MsgType": "text", "Content": "  "}, Unsupported()),
        ({}, Unsupported()),
    ],
)
def test_each_kind_of_message_is_told_apart(message: dict[str, str], part: Part) -> None:
    assert part_of(message) == part


@pytest.mark.parametrize("claimed", ["", "x", "-5", "99999999999", str(int(later(60).timestamp()))])
def test_a_time_that_is_none_or_from_the_future_becomes_the_time_of_receipt(claimed: str) -> None:
    assert sent_at({"CreateTime": claimed}, received_at=T0) == T0


MESSAGES: list[tuple[float, Part]] = [
    (0, Picture("a")),
    (1, Words("井盖")),
    (2, Place(*HERE)),
    (3, Place(22.6, 114.1)),
    (4, Words("坏了")),
    (5, Picture("b")),
    (6, Confirmation()),
]


@given(st.permutations(MESSAGES))
def test_a_draft_does_not_depend_on_the_order_of_its_messages(order: list[tuple[float, Part]]) -> None:
    draft = built(*order)
    assert draft == built(*MESSAGES)
    assert draft.text == "井盖\n坏了"
    assert draft.location == {"lat": round(22.6 * SCALE), "lon": round(114.1 * SCALE), "datum": "wgs84"}


@given(st.permutations([*MESSAGES, *MESSAGES]))
def test_a_message_taken_twice_counts_once(order: list[tuple[float, Part]]) -> None:
    assert built(*order) == built(*MESSAGES)


def test_a_photo_that_came_is_not_expected_again() -> None:
    came = with_photo(built((0, Picture("a"))), "photo-0", PhotoState.RECEIVED)
    assert with_part(came, Picture("a"), at=T0, photo_id="photo-0").photos == {"photo-0": PhotoState.RECEIVED}


def test_a_report_is_due_only_with_photo_place_and_word() -> None:
    parts: dict[str, tuple[float, Part]] = {
        "photo": (0, Picture("a")),
        "place": (1, Place(*HERE)),
        "word": (2, Confirmation()),
    }
    for count in range(4):
        for names in itertools.combinations(parts, count):
            draft = built(*(parts[name] for name in names))
            assert not due(draft), "no photo was fetched yet"
            if "photo" in names:
                draft = with_photo(draft, "photo-0", PhotoState.RECEIVED)
            assert due(draft) == (count == 3), names


def test_a_photo_on_its_way_is_not_missing_and_a_lost_one_is() -> None:
    draft = built((0, Picture("a")), (1, Place(*HERE)))
    assert missing(draft) == []
    assert missing(with_photo(draft, "photo-0", PhotoState.FAILED)) == ["photo"]
    assert missing(Draft()) == ["photo", "location"]


SPAN = Span(T0, later(30), WINDOW)
WITH_PHOTO = built((0, Picture("a")))


@pytest.mark.parametrize(
    ("part", "at", "joins"),
    [
        (Words("x"), later(150), True),
        (Words("x"), later(151), False),
        (Words("x"), later(-120), True),
        (Words("x"), later(-121), False),
        (Place(*HERE), later(3600), True),
        (Picture("b"), later(3600), False),
        (Confirmation(), later(3600), True),
        (Place(*HERE), later(86_431), False),
        (Confirmation(), later(86_431), False),
    ],
)
def test_a_message_joins_within_the_window_or_when_it_was_asked_for(part: Part, at: datetime, joins: bool) -> None:
    assert belongs(WITH_PHOTO, part, at=at, span=SPAN) is joins


def test_what_follows_the_confirmation_begins_another_report_though_a_photo_is_still_on_its_way() -> None:
    finished = built((0, Picture("a")), (1, Place(*HERE)), (2, Confirmation()))
    assert not belongs(finished, Picture("b"), at=later(30), span=SPAN)
    assert belongs(finished, Picture("b"), at=later(29), span=SPAN), "sent before the word, came after it"
    assert belongs(finished, Confirmation(), at=later(31), span=SPAN)


def test_a_full_report_takes_no_more_but_the_confirmation() -> None:
    full = built(*((float(number), Picture("a")) for number in range(MAX_PHOTOS)))
    assert not belongs(full, Picture("b"), at=later(31), span=SPAN)
    assert belongs(full, Confirmation(), at=later(31), span=SPAN)


@pytest.mark.parametrize(
    ("part", "at", "late"),
    [
        (Picture("b"), later(29), True),
        (Picture("b"), later(30), False),
        (Picture("b"), later(-121), False),
        (Confirmation(), later(60), True),
        (Confirmation(), later(151), False),
    ],
)
def test_a_message_sent_before_the_last_one_came_late(part: Part, at: datetime, late: bool) -> None:
    assert came_late(part, at=at, span=SPAN) is late


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("路上井盖缺失很危险", "0601"),
        ("井盖破了", "0602"),
        ("一堆垃圾挡住消防通道", "0102"),
        ("消防通道堆满垃圾", "0605"),
        ("你好", "0608"),
        ("", "0608"),
    ],
)
def test_the_first_and_longest_keyword_names_the_class(text: str, code: str) -> None:
    table = keywords()
    assert class_of(text, table.pairs, default=table.default) == code


def test_masked_text_shows_one_character_and_the_length() -> None:
    assert masked("张三 13800138000") == "张**（共14字）"
    assert masked("") == ""
