"""Departments' files as tables: every format gives the same rows, and a broken one is refused with its line."""

import io
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backend.core.settings import get_settings
from backend.services import registry_tables
from backend.services.registry_source import SAMPLE_BYTES, Source
from backend.services.registry_tables import (
    ImportRefused,
    ImportTruncated,
    ImportUnreadable,
    Reason,
    Rejected,
    Row,
    open_table,
)
from tests.tables import FORMATS, PACKED, csv_text, packed, workbook

KNOWN = [("编号", "code"), ("姓名", "owner.name"), ("出生日期", "born"), ("备注", "note")]
TITLES = [title for title, _ in KNOWN]
LINES = [
    TITLES,
    ["1", "张三", "1999-02-03", "一,二;三|四\t五"],
    ["2", "测试", "", 'a "b" c'],
    ["3", "欧阳娜娜", "", "丂"],
]
TEXT = csv_text(LINES)


def rows_of(content: bytes) -> list[Row | Rejected]:
    return list(open_table(Source(io.BytesIO(content), size=len(content)), KNOWN).rows())


def cells_of(content: bytes) -> list[list[str]]:
    return [row.cells for row in rows_of(content)]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_table(name: str) -> None:
    content = FORMATS[name](LINES)
    table = open_table(Source(io.BytesIO(content), size=len(content)), KNOWN)
    rows = list(table.rows())
    assert table.titles == TITLES
    assert table.given == set(TITLES)
    assert [row.cells for row in rows] == LINES[1:]
    first = 1 if name in ("json lines", "parquet") else 2
    assert [row.line for row in rows] == [first, first + 1, first + 2]


def test_one_row_in_another_encoding_costs_itself_only() -> None:
    lines = TEXT.encode().split(b"\r\n")
    lines[2] = lines[2].replace("测试".encode(), "测试".encode("gb18030"))
    cells = cells_of(b"\r\n".join(lines))
    assert cells[0] == LINES[1]
    assert cells[1] != LINES[2]
    assert cells[2] == LINES[3]


def test_a_header_in_ascii_leaves_the_encoding_to_most_lines() -> None:
    text = "code,owner.name\r\n" + "1,张三\r\n2,李四\r\n3,测试\r\n"
    for encoding in ("utf-8", "gb18030"):
        assert [cells[1] for cells in cells_of(text.encode(encoding))] == ["张三", "李四", "测试"]
    mixed = b"code,owner.name\r\n1," + "测".encode("gb18030") + "\r\n2,李四\r\n3,测试\r\n".encode()
    assert [cells[1] for cells in cells_of(mixed)][1:] == ["李四", "测试"]


@pytest.mark.parametrize("end", ["2,", '2,张三,,"', '2,张三,,"a\r\nb'])
def test_a_text_that_ends_in_the_middle_of_a_row_is_refused_with_its_line(end: str) -> None:
    with pytest.raises(ImportTruncated) as refused:
        rows_of(f"{TITLES[0]},{','.join(TITLES[1:])}\r\n1,张三,,\r\n{end}".encode())
    assert refused.value.reasons == [Reason(3, "", "cut_off")]


def test_a_last_row_without_an_end_of_line_is_whole_where_all_its_cells_are() -> None:
    assert cells_of(TEXT.rstrip().encode()) == LINES[1:]


def test_json_lines_that_are_cut_off_are_refused_with_their_line() -> None:
    content = FORMATS["json lines"](LINES)
    with pytest.raises(ImportTruncated) as refused:
        rows_of(content[:-9])
    assert refused.value.reasons == [Reason(3, "", "cut_off")]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{", "unreadable"),
        ("[1]", "unreadable"),
        ('{"编号": NaN}', "unreadable"),
        ('{"编号": "1", "年龄": 3}', "unknown_column"),
        ('{"编号": ["1"]}', "malformed"),
        ('{"owner": {"name": {"a": 1}}}', "malformed"),
        ("[" * 100_000, "unreadable"),
    ],
)
def test_a_line_that_is_no_row_is_refused_alone(line: str, code: str) -> None:
    rows = rows_of(f'{{"编号": 1}}\n{line}\n\n{{"owner": {{"name": "张三"}}, "备注": null, "编号": 4.0}}\n'.encode())
    assert rows == [
        Row(1, ["1", "", "", ""]),
        Rejected(2, "", code, []),
        Row(4, ["4", "张三", "", ""]),
    ]


@pytest.mark.parametrize("name", PACKED)
def test_half_a_packed_file_is_unreadable(name: str) -> None:
    content = FORMATS[name](LINES)
    for part in (content[: len(content) // 2], content[:-1]):
        with pytest.raises(ImportUnreadable):
            rows_of(part)


def test_numbers_dates_and_empty_rows_of_a_workbook_are_read_as_people_see_them() -> None:
    cells = '<c><v>7</v></c><c><v>1.5</v></c><c t="d"><v>1999-02-03T00:00:00</v></c><c t="b"><v>1</v></c>'
    assert rows_of(workbook([TITLES, ["", "", "", ""]], cells=cells)) == [Row(3, ["7", "1.5", "1999-02-03", "true"])]


def test_a_number_that_a_spreadsheet_has_rounded_is_marked_as_lost() -> None:
    [row] = rows_of(workbook([TITLES], cells="<c><v>440303194501010015</v></c>"))
    assert row.cells[0] == "\ufffd"


def test_a_cell_beyond_the_header_is_one_too_many() -> None:
    content = workbook([[*TITLES, ""], ["1", "", "", "", ""], ["2", "", "", "", "x"]])
    assert rows_of(content) == [Row(2, ["1", "", "", ""]), Rejected(3, "", "cell_count", ["2", "", "", "", "x"])]


def test_a_cell_far_away_fills_no_memory() -> None:
    rows = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    with pytest.raises(ImportUnreadable):
        rows_of(packed(rows))


def test_what_is_small_outside_and_huge_inside_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    content = packed("<row><c><v>1</v></c></row>" * 2 + f'<row><c t="inlineStr"><is><t>{"x" * 4096}</t></is></c></row>')
    assert len(content) < 2048
    monkeypatch.setenv("MAX_IMPORT_BYTES", "2048")
    get_settings.cache_clear()
    with pytest.raises(ImportUnreadable):
        rows_of(content)
    get_settings.cache_clear()


def test_old_workbooks_and_those_under_a_password_are_unreadable() -> None:
    with pytest.raises(ImportUnreadable):
        rows_of(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000))


def test_a_line_without_an_end_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_tables, "LONGEST_LINE", 1000)
    with pytest.raises(ImportUnreadable) as refused:
        rows_of(f"{','.join(TITLES)}\r\n1,张三,,{'x' * 5000}".encode())
    assert refused.value.reasons == [Reason(2, "", "too_long")]


def test_a_source_is_read_whole_after_a_look_at_its_head() -> None:
    content = bytes(range(256)) * (SAMPLE_BYTES // 256 + 100)
    source = Source(io.BytesIO(content), size=len(content))
    assert source.head() == content[:SAMPLE_BYTES]
    assert source.share == 0
    assert io.BufferedReader(source).read() == content
    assert source.share == 1


def _hostile() -> st.SearchStrategy[bytes]:
    """Bytes that are nearly a file: pieces of a good one, joined with noise."""
    pieces = st.sampled_from(
        [
            TEXT.encode(),
            TEXT.encode("gb18030"),
            FORMATS["json lines"](LINES),
            *[b",", b'"', b"\r", b"\n", b"\0", b"{", b"}", b"\\ud800", b"\xff\xfe", b"\xef\xbb\xbf", b"\xa1", b"\t;|"],
        ]
    )
    return st.lists(st.one_of(pieces, st.binary(max_size=20)), max_size=8).map(b"".join)


@settings(max_examples=300)
@given(_hostile())
@example(b"")
@example(b"{")
def test_whatever_comes_is_rows_with_rising_lines_or_refused(content: bytes) -> None:
    if content.startswith((b"PAR1", b"PK\x03\x04")):
        return
    try:
        table = open_table(Source(io.BytesIO(content), size=len(content)), KNOWN)
        rows = list(table.rows())
    except ImportRefused:
        return
    assert [row.line for row in rows] == sorted({row.line for row in rows})
    assert all(len(row.cells) == len(table.titles) for row in _whole(rows))


def _whole(rows: list[Row | Rejected]) -> Iterator[Row]:
    return (row for row in rows if isinstance(row, Row))
