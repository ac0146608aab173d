"""What the transports that tests play by hand have in common."""

from __future__ import annotations

import asyncio
from typing import Any


class HandTransport(asyncio.Transport):
    """One that can be closed for writing alone, as TCP can."""

    closing = eof_written = False

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        self.eof_written = True

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.closing
