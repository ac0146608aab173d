"""A task of Celery's, over a broker of files, so that no server is needed."""

import os
from pathlib import Path

from celery import Celery

queues = Path(os.environ["SHARED"], "queues")
control = Path(os.environ["SHARED"], "control")
for each in (queues, control):
    each.mkdir(exist_ok=True)
app = Celery(
    "flower_tasks",
    broker="filesystem://",
    broker_transport_options={
        "data_folder_in": str(queues),
        "data_folder_out": str(queues),
        "control_folder": str(control),
    },
)


@app.task
def double(number):
    return number * 2
