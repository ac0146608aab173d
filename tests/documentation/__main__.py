"""`make docs`: write the reference and build the site; `make check` builds it alone, with `--check`."""

from __future__ import annotations

import sys

from .build import SITE, build
from .examples import summary
from .reference import PAGES
from .stage import ROOT

if __name__ == "__main__":
    if sys.argv[1:] != ["--check"]:
        for name, text in PAGES.items():
            (ROOT / name).write_text(text(), encoding="utf-8")
    if not build():
        sys.exit("The documentation is not built: what is above has to be right first")
    print(f"The documentation is in {SITE.relative_to(ROOT)}; {summary()}")
