"""The `portico` command, also as `python -m portico`."""

from __future__ import annotations

import sys

from portico.core.imports import kept


def main() -> None:
    """Entry point of the console script."""
    if sys.argv[1:2] == ["run"]:
        from portico.cli.quick_run import run_quickly

        run_quickly(sys.argv[2:])
    try:
        with kept():
            from portico.cli.main import main as run
    except KeyboardInterrupt:  # from here on Typer takes it
        sys.exit("Aborted.")
    run()


if __name__ == "__main__":
    main()
