"""What goes on beside a block, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeated(what: Callable[[], object], pause: float) -> Iterator[None]:
    """It is called over and over, with a pause before each time."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(pause):
            what()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
