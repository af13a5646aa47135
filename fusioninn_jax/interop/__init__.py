"""Models from and to other frameworks."""

import importlib
from types import ModuleType

__all__ = ["torch_checkpoint"]


def __getattr__(name: str) -> ModuleType:
    """Imports a module of this package when it is asked for, so that `python -m` finds it not imported yet."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
