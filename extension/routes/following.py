"""An edit as it goes on, told by the server: events for whoever can read a stream."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from .. import schema
from ..access import RefusedError
from ..answers import describe
from ..job import Job
from .base import LONGEST_WAIT, NEVER_STORED, POLL, Routes

MOST_STREAMS = 64
SIGN_OF_LIFE = 10.0  # seconds between comments, by which a connection that has gone is noticed
# Proxies and hosts compress, and hold back what is to be compressed; newer ones leave alone what names an encoding.
UNHELD = {**NEVER_STORED, "Content-Encoding": "identity", "X-Accel-Buffering": "no"}


def add_following(routes: Routes) -> None:
    """The stream of a job's states."""
    open_streams: set[object] = set()

    @routes.add(
        "GET",
        "/edits/{job_id}/events",
        "An edit's states as server-sent events",
        {
            200: {
                "description": "`event: state` with the JSON of the edit's state at every change, to its end.",
                "content": {"text/event-stream": {}},
            },
            **schema.responses(404, 429),
        },
    )
    async def edit_events(request: Request, job_id: str) -> Response:
        job = routes.job(request, job_id)
        if len(open_streams) >= MOST_STREAMS:
            raise RefusedError(429, "Too many pages follow edits; ask for the state now and then instead.")
        return StreamingResponse(_told(routes, job, open_streams), media_type="text/event-stream", headers=UNHELD)


async def _told(routes: Routes, job: Job, streams: set[object]) -> AsyncIterator[str]:
    """Ends after the last state, when the host goes down, which waits for open answers, and after LONGEST_WAIT.

    Where the client has left, the server ends it.
    """
    jobs, mark = routes.jobs, object()
    began = last = time.monotonic()
    known: Any = None
    streams.add(mark)
    try:
        while True:
            ended = job.ended.is_set()  # before the state is read, so that the last one is told
            state = describe(jobs, job)
            seen = {**state, "eta": state["eta"] and round(state["eta"])}  # it counts down all the time
            now = time.monotonic()
            if seen != known:
                known, last = seen, now
                yield f"event: state\ndata: {json.dumps(state)}\n\n"
            elif now - last > SIGN_OF_LIFE:
                last = now
                yield ": still there\n\n"
            if ended or jobs.closed or now - began > LONGEST_WAIT:
                return
            await asyncio.sleep(POLL)
    finally:
        streams.discard(mark)
