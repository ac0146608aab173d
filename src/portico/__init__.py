"""Portico, an API gateway in Python."""

TYPE_CHECKING = False  # as type checkers read it; to import typing would take longer than all the rest

if TYPE_CHECKING:
    from portico.core.settings import Settings as Settings

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`portico.Settings` is loaded when it is first asked for: services that import the client do not need it."""
    if name == "Settings":
        from portico.core.settings import Settings

        return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
