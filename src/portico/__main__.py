"""The `portico` command, also as `python -m portico`."""

from __future__ import annotations

import gc


def main() -> None:
    """Entry point of the console script.

    What a program imports it keeps. To search it for garbage, meanwhile and once more at its end, would take a third of
    what a short command takes altogether.
    """
    gc.disable()
    from portico.cli.main import main as run

    gc.freeze()
    gc.enable()
    run()


if __name__ == "__main__":
    main()
