"""No cell of any CSV that the product hands out is run as a formula."""

import csv
import io
import unicodedata

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from backend.services.spreadsheets import harmless, line

CSV_OPERATIONS = {
    "/registry/v1/imports/{snapshot_id}/rejects",
    "/exports/v1/{export_id}/file",
    "/checks/v1/what-ifs/{what_if_id}/file",
}
"""Each of them writes cells through `spreadsheets`; tests of their own look at the files."""


def _runs(cell: str) -> bool:
    """Whether a spreadsheet would take the cell for a formula, in narrow or full-width letters."""
    return unicodedata.normalize("NFKC", cell[:1]) in {"=", "+", "-", "@", "\t", "\r", "\n"}


@given(st.lists(st.text(max_size=20) | st.sampled_from(["=1+1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", "＝1"])))
def test_no_cell_is_run_and_none_loses_anything(cells: list[str]) -> None:
    for cell in cells:
        written = harmless(cell)
        assert not _runs(written)
        assert written == (f"'{cell}" if _runs(cell) else cell)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20), min_size=1))
def test_a_line_is_read_back_as_it_was(cells: list[str]) -> None:
    kept = [cell.replace("\x00", "") for cell in cells]
    assert next(csv.reader(io.StringIO(line(kept).decode(), newline=""))) == kept


def test_every_route_that_gives_csv_is_known(api: TestClient) -> None:
    app = api.app
    assert isinstance(app, FastAPI)
    found = {
        path
        for path, item in app.openapi()["paths"].items()
        for operation in item.values()
        for response in operation["responses"].values()
        if "text/csv" in response.get("content", {})
    }
    assert found == CSV_OPERATIONS


@pytest.mark.parametrize("cell", ["张三", "110101199003070016", "", "a=b", "'quoted"])
def test_ordinary_cells_stay_as_they_are(cell: str) -> None:
    assert harmless(cell) == cell
