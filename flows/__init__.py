"""What a person runs or schedules. Importing it sets how Prefect's own server is started, before Prefect reads it."""

import os

EPHEMERAL_SERVER = {
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
"""For the server that Prefect starts by itself when PREFECT_API_URL is not set. Its defaults write every event of a
task run in a transaction of its own, and a subflow then waits seconds for SQLite's lock; in batches, tenths."""

CLIENT = {"PREFECT_CLIENT_MAX_RETRIES": "8"}
"""A call to Prefect's API is repeated after 2, 4, … 256 seconds: the API may be away for some 8 minutes."""

for _name, _value in (EPHEMERAL_SERVER | CLIENT).items():
    os.environ.setdefault(_name, _value)


class PrefectError(Exception):
    """Prefect's API can not be reached. The text says where, and what to do."""


class InterruptedRunError(Exception):
    """A signal ended the run. The text says which, and what to do."""
