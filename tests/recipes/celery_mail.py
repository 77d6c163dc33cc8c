"""Celery tasks in a pool of forked workers, each replaced after some tasks.

    celery --app celery_mail worker --concurrency 4 --max-tasks-per-child 100

The client is made once, in the module of the tasks. Celery ends its children without an exit handler, and kills those
that run out of time: what they tracked is on disk, and the next process of this program sends it. The main process
does so at the end, because it tracks something itself.
"""

from typing import Any

from celery import Celery
from celery.signals import task_failure, worker_shutting_down

from producttelemetry import Telemetry

telemetry = Telemetry("your-write-key", project_slug="mail")
app = Celery("mail", broker="filesystem://")  # or your RabbitMQ or Redis
app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "queue"}


@app.task
def send(number: int) -> None:
    """Do the work; the name of what was done is enough to track."""
    if number % 10 == 9:
        raise ValueError("no such address")
    telemetry.track("mail.sent")


@task_failure.connect
def failed(exception: BaseException, **_: Any) -> None:
    """Track what any task raises."""
    telemetry.error(exception)


@worker_shutting_down.connect
def leaving(**_: Any) -> None:
    """Have the main process send what its children have left."""
    telemetry.track("worker.left", event_type="lifecycle")
