"""The `portico` command, also as `python -m portico`."""

from __future__ import annotations

from portico.core.imports import kept


def main() -> None:
    """Entry point of the console script."""
    with kept():
        from portico.cli.main import main as run
    run()


if __name__ == "__main__":
    main()
