"""Prefect's own client: a flow whose run and logs the server knows."""

import os
import sys

os.environ["PREFECT_API_URL"] = f"{sys.argv[1]}/api"

from prefect import flow, get_client, get_run_logger, task


@task
def double(number):
    return number * 2


@flow
def first():
    get_run_logger().info("running")
    return sum(double(number) for number in range(3))


assert first() == 6
with get_client(sync_client=True) as client:
    runs = client.read_flow_runs()
    assert [run.state.type.value for run in runs] == ["COMPLETED"], runs
    print("flow run:", runs[0].name)
