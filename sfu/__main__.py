"""`python -m sfu`: one media worker. It reads its settings from the environment; a second one needs its own port."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

import structlog

from sfu.worker import logs
from sfu.worker.process import run
from sfu.worker.settings import BadSettings, Settings


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sfu", description="One media worker of Lectern.")
    parser.add_argument("--id", help="instead of SFU_WORKER_ID")
    parser.add_argument("--port", help="instead of SFU_PORT")
    options = parser.parse_args()
    environ = dict(os.environ)
    if options.id:
        environ["SFU_WORKER_ID"] = options.id
    if options.port:
        environ["SFU_PORT"] = options.port
    try:
        settings = Settings.from_env(environ)
    except BadSettings as error:
        print(f"sfu: {error}", file=sys.stderr)
        return 2
    logs.configure(settings.log_format, worker_id=settings.worker_id)
    try:
        asyncio.run(run(settings))
    except OSError as error:
        structlog.get_logger("sfu").error("worker_cannot_start", port=settings.port, error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
