"""The life of a verification request (一数一源核实) as a table of data: what a department says to a proposed value.

Pure, in the terms of `sync.review_rules`. Nothing happens by itself, and nothing that was accepted is taken back here:
the department writes its field again.
"""

from backend.core.enums import Role, VerificationState
from sync.review_rules import Action, Edge, Guard

_DEPARTMENT = (Role.STEWARD, Role.HANDLER)
_NOT_OWN = (Guard.NOT_AUTHOR,)

VERIFICATION_EDGES: tuple[Edge, ...] = (
    Edge(
        Action.APPROVE,
        VerificationState.OPEN,
        VerificationState.ACCEPTED,
        ("checked_on_site", "evidence_sufficient", "department_corrected"),
        _DEPARTMENT,
        _NOT_OWN,
    ),
    Edge(
        Action.REFUSE,
        VerificationState.OPEN,
        VerificationState.REFUSED,
        ("department_record", "evidence_lacking", "not_true", "wrong_object"),
        _DEPARTMENT,
        _NOT_OWN,
    ),
    Edge(
        Action.REOPEN,
        VerificationState.REFUSED,
        VerificationState.OPEN,
        ("refused_wrongly", "new_information"),
        _DEPARTMENT,
        _NOT_OWN,
    ),
)
