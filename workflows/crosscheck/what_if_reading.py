"""What-ifs as they are read: a report, and the same as a table."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from uuid import UUID

from sqlmodel import Session, col, select

from backend.core.enums import Course
from backend.core.errors import NotFound
from backend.models import WhatIf, WhatIfCount
from backend.services import spreadsheets
from workflows.crosscheck.rule_schemas import GridChange, Transition, WhatIfOut, WhatIfReport
from workflows.crosscheck.what_if import SAMPLES

GRIDS_SHOWN = 500
COLUMNS = "kind grid_id before after course_before course_after number".split()


def listed(session: Session, *, before: UUID | None, limit: int) -> list[WhatIfOut]:
    """What-ifs, the newest first, below the id `before`."""
    query = select(WhatIf).order_by(col(WhatIf.id).desc()).limit(limit)
    rows = session.exec(query if before is None else query.where(col(WhatIf.id) < before)).all()
    return [WhatIfOut.model_validate(row) for row in rows]


def report(session: Session, what_if_id: UUID) -> WhatIfReport:
    """What was counted so far. `NotFound`."""
    run, counts = _read(session, what_if_id)
    grids = sorted(_by_grid(counts), key=lambda grid: (-grid.changed, grid.grid_id or ""))
    return WhatIfReport(
        **WhatIfOut.model_validate(run).model_dump(),
        number=sum(grid.number for grid in grids),
        changed=sum(grid.changed for grid in grids),
        opens=sum(grid.opens for grid in grids),
        drops=sum(grid.drops for grid in grids),
        transitions=_transitions(counts),
        grids=grids[:GRIDS_SHOWN],
    )


def table(session: Session, what_if_id: UUID) -> Iterator[bytes]:
    """The counts as CSV, with the ids of samples in the last column. `NotFound` at once."""
    _, counts = _read(session, what_if_id)
    # They are read out before the transaction ends, which is before the first byte is sent.
    rows = [[*(str(getattr(row, name)) for name in COLUMNS), " ".join(row.samples)] for row in counts]
    return _lines(rows)


def _lines(rows: Sequence[Sequence[str]]) -> Iterator[bytes]:
    yield spreadsheets.BYTE_ORDER_MARK + spreadsheets.line([*COLUMNS, "samples"])
    yield from map(spreadsheets.line, rows)


def _read(session: Session, what_if_id: UUID) -> tuple[WhatIf, Sequence[WhatIfCount]]:
    run = session.get(WhatIf, what_if_id)
    if run is None:
        raise NotFound
    query = select(WhatIfCount).where(WhatIfCount.what_if_id == what_if_id)
    order = (WhatIfCount.kind, WhatIfCount.grid_id, WhatIfCount.before, WhatIfCount.after)
    return run, session.exec(query.order_by(*(col(column) for column in order))).all()


def _transitions(counts: Sequence[WhatIfCount]) -> list[Transition]:
    """Over all grids, the most frequent first."""
    found: dict[tuple[object, ...], list[WhatIfCount]] = defaultdict(list)
    for row in counts:
        found[row.kind, row.before, row.after, row.course_before, row.course_after].append(row)
    transitions = [
        Transition(
            kind=rows[0].kind,
            before=rows[0].before,
            after=rows[0].after,
            course_before=rows[0].course_before,
            course_after=rows[0].course_after,
            number=sum(row.number for row in rows),
            samples=[UUID(sample) for row in rows for sample in row.samples][:SAMPLES],
        )
        for rows in found.values()
    ]
    return sorted(transitions, key=lambda one: (-one.number, one.kind, one.before, one.after))


def _by_grid(counts: Sequence[WhatIfCount]) -> list[GridChange]:
    found: dict[str, GridChange] = {}
    for row in counts:
        empty = GridChange(grid_id=row.grid_id or None, number=0, changed=0, opens=0, drops=0)
        grid = found.setdefault(row.grid_id, empty)
        now, then = row.course_before is Course.CASE, row.course_after is Course.CASE
        grid.number += row.number
        grid.changed += row.number * (row.before is not row.after)
        grid.opens += row.number * (then and not now)
        grid.drops += row.number * (now and not then)
    return list(found.values())
