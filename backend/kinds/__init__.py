"""Record kinds: what may be collected, how it is validated, merged and protected."""

from collections.abc import Mapping

from backend.core.enums import Kind
from backend.kinds import case, component, event, house, organisation, person, task
from backend.kinds.base import Document, Identity, KindSpec, Merge, identity_of

KINDS: Mapping[Kind, KindSpec] = {
    spec.kind: spec
    for spec in (person.SPEC, house.SPEC, organisation.SPEC, component.SPEC, event.SPEC, case.SPEC, task.SPEC)
}

__all__ = ["KINDS", "Document", "Identity", "KindSpec", "Merge", "identity_of"]
