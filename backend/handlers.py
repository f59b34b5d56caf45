"""Which modules hold job handlers. Importing them registers them."""

from importlib import import_module

MODULES = (
    "backend.services.audit_tasks",
    "backend.services.tasks",
    "media.tasks",
    "media.upload_tasks",
    "sync.tasks",
    "workflows.cases.tasks",
    "workflows.channels.tasks",
    "workflows.crosscheck.tasks",
    "workflows.notify.tasks",
    "workflows.reconcile.tasks",
)


def load_handlers() -> None:
    """Import every module that registers handlers; importing twice is harmless."""
    for module in MODULES:
        import_module(module)
