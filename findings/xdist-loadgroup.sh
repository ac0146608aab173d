#!/usr/bin/env bash
# pytest-xdist 3.8.0 with pytest 9.2.0: `--dist loadgroup` runs, says nothing, and does not group.
#
# Tests marked with xdist_group("one") are to run in one worker ("How to distribute tests", pytest-xdist's
# documentation). With pytest 9.2.0 they are spread over all workers as with `--dist load`, so a fixture of a module
# that is costly is made once in each worker. A worker appends "@one" to the id of a test, by which the scheduler
# groups, in an attribute that this pytest no longer reads. With pytest 8.4.2 the same tests run in one worker.
#
# Source: run it. It prints how many workers ran the twelve tests of one group, and fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > test_group.py <<'PYTHON'
import os
import time

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(12))
def test_of_the_group(number):
    time.sleep(0.1)
    with open("workers", "a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\n")
PYTHON

workers_with() {
    python3 -m venv "venv-$1"
    "venv-$1/bin/pip" --disable-pip-version-check -qq install "pytest==$1" pytest-xdist==3.8.0
    rm -f workers
    "venv-$1/bin/pytest" -q -n 3 --dist loadgroup -p no:cacheprovider test_group.py >/dev/null
    sort -u workers | wc -l
}

old=$(workers_with 8.4.2)
new=$(workers_with 9.2.0)
echo "workers that ran the tests of one group: $old with pytest 8.4.2, $new with pytest 9.2.0"
[ "$old" = 1 ] && [ "$new" -gt 1 ]
