"""Where an edit stands, as a picture."""

from __future__ import annotations

import io

import numpy as np
from dragtext.extension import words
from PIL import Image

from .jobs import finished, picture, request


def test_the_drawn_state_shows_where_the_handles_are(jobs):
    job = finished(jobs.submit(picture(), request()))
    job.points = ((40.0, 50.0),)
    drawn = np.array(Image.open(io.BytesIO(words.standing(job)))).astype(int)
    plain = np.array(Image.open(io.BytesIO(job.picture.thumbnail))).astype(int)
    changed = np.abs(drawn - plain).max(axis=-1) > 60
    (drag,) = job.request.drags
    x, y = (round(value) for value in drag.target)
    assert np.abs(drawn[50, 40] - [230, 40, 60]).max() < 60
    assert np.abs(drawn[y, x] - [40, 90, 230]).max() < 60
    assert not changed[: min(y, 50) - 10].any()
