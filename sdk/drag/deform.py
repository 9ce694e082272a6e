"""The warped start's map: where the pixels of what moves go (ALGORITHMS 12b).

Moving least squares (Schaefer, McPhail and Warren, SIGGRAPH 2006): every point follows the drags, the nearest of them
most. Points are (x, y) pixels; pairs are handles with their targets, pins have both at one place.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..settings import DragKind

Kind = Literal["rigid", "similarity", "affine"]

_FREE: dict[Kind, int] = {
    "rigid": 1,
    "similarity": 2,
    "affine": 3,
}  # handles whose targets a transform of the kind always meets
GRID = 8  # the map is computed on every eighth pixel and interpolated between them
FALLOFF = 1.0  # alpha: weights are 1 / distance^(2 alpha)
_TOLERANCE, _LEAST_TOLERANCE = 0.04, 1.5  # what a transform may miss the targets by: share of their spread, pixels


def transform_kind(handles: np.ndarray, targets: np.ndarray) -> Kind:
    """What the drags ask for: the simplest transform that takes every handle to its target.

    handles, targets: (n, 2). Rigid is what objects do, so it is also the answer where no single transform fits; a
    similarity where all drags agree on another size, affine where three or more of them agree on a stretch or a shear.
    """
    for kind in _possible(handles):
        if _misses(handles, targets, kind) <= 1:
            return kind
    return "rigid"


def drag_kind(handles: np.ndarray, targets: np.ndarray) -> DragKind:
    """What the drags of an edit do to the one thing that they carry; "other" where no single transform serves all."""
    if not fits_all(handles, targets):
        return "other"
    if transform_kind(handles, targets) != "rigid":
        return "stretch"
    ways = targets - handles
    return "move" if np.linalg.norm(ways - ways.mean(0), axis=1).max() <= _same(targets) else "rotate"


def fits_all(handles: np.ndarray, targets: np.ndarray, more_than_any: bool = False) -> bool:
    """Whether a single transform takes every handle to its target.

    more_than_any: not where a transform of its kind would for whatever targets of so few handles.
    """
    kinds: list[Kind] = [kind for kind in _possible(handles) if not more_than_any or len(handles) > _FREE[kind]]
    return any(_misses(handles, targets, kind) <= 1 for kind in kinds)


def _possible(handles: np.ndarray) -> tuple[Kind, ...]:
    """The transforms that so many handles can tell, simplest first."""
    if len(handles) < 2:
        return ("rigid",)
    if len(handles) > 2 and _spans_a_plane(handles):
        return ("rigid", "similarity", "affine")
    return ("rigid", "similarity")


def _misses(handles: np.ndarray, targets: np.ndarray, kind: Kind) -> float:
    """The farthest that the best transform of a kind misses a target by, over what it may."""
    count = len(handles)
    # Equal weights, as seen from far away, make moving least squares a plain fit.
    fitted = deform(handles, handles, targets, kind, weights=np.ones((count, count)))
    missed = float(np.linalg.norm(fitted - targets, axis=1).max())
    return missed / _same(targets)


def _same(targets: np.ndarray) -> float:
    """Pixels that make no difference between points so far apart."""
    spread = float(np.linalg.norm(targets - targets.mean(0), axis=1).max())
    return max(_LEAST_TOLERANCE, _TOLERANCE * spread)


def deform(
    points: np.ndarray, sources: np.ndarray, goals: np.ndarray, kind: Kind, weights: np.ndarray | None = None
) -> np.ndarray:
    """Where moving least squares takes `points` (m, 2), given that `sources` (n, 2) go to `goals` (n, 2).

    weights: (m, n), by default 1 / distance^(2 FALLOFF). A single pair is a translation. Returns (m, 2) float64.
    """
    squares = np.square(points[:, None] - sources[None]).sum(-1)
    near = 1 / np.maximum(squares, 1e-8) ** FALLOFF if weights is None else weights
    shares = near / near.sum(1, keepdims=True)
    # Complex numbers turn and scale by one product; x is the real part.
    v, p, q = (array[..., 0] + 1j * array[..., 1] for array in (points, sources, goals))
    centre_p, centre_q = shares @ p, shares @ q
    if len(sources) == 1:
        moved = v + (centre_q - centre_p)
    elif kind == "affine":
        return _affine(points, sources, goals, shares)
    else:
        about_p, about_q = p[None] - centre_p[:, None], q[None] - centre_q[:, None]
        turn = (shares * about_p.conj() * about_q).sum(1)
        size = np.abs(turn) if kind == "rigid" else (shares * np.abs(about_p) ** 2).sum(1)
        # At a source all weight is its own: nothing is left to turn by, and nothing to be turned.
        turn = np.where(size > 1e-12, turn / np.maximum(size, 1e-12), 1)
        moved = centre_q + turn * (v - centre_p)
    return np.stack([moved.real, moved.imag], axis=-1)


def fetch_map(box: tuple[int, int, int, int], handles: np.ndarray, targets: np.ndarray, kind: Kind) -> np.ndarray:
    """(h, w, 2) float32: for every pixel of a box of the warped picture the (x, y) of the original that lands there.

    Pixels are fetched, not thrown, so none is missed: the deformation runs from targets to handles.
    box: (top, left, bottom, right) pixels.
    """
    top, left, bottom, right = box
    rows, cols = (np.arange(0, side + GRID, GRID, dtype=np.float64) for side in (bottom - top, right - left))
    nodes = np.stack(np.meshgrid(left + cols, top + rows), axis=-1)
    fetched = deform(nodes.reshape(-1, 2), targets, handles, kind).reshape(nodes.shape)
    down, across = _interpolation(bottom - top, len(rows)), _interpolation(right - left, len(cols))
    return np.stack([down @ fetched[..., axis] @ across.T for axis in (0, 1)], -1).astype(np.float32)


def _affine(points: np.ndarray, sources: np.ndarray, goals: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The normal equations of the weighted problem, one 2x2 matrix per point."""
    centre_p, centre_q = weights @ sources, weights @ goals
    about_p, about_q = sources[None] - centre_p[:, None], goals[None] - centre_q[:, None]
    left = np.einsum("mn,mni,mnj->mij", weights, about_p, about_p)
    right = np.einsum("mn,mni,mnj->mij", weights, about_p, about_q)
    scale = np.trace(left, axis1=1, axis2=2)[:, None, None]
    matrix = np.linalg.solve(left + 1e-9 * (scale + 1e-9) * np.eye(2), right)
    return np.einsum("mi,mij->mj", points - centre_p, matrix) + centre_q


def _spans_a_plane(points: np.ndarray) -> bool:
    """Whether the points do not lie, roughly, on a line, along which alone a stretch could be told."""
    spread = np.linalg.eigvalsh(np.cov(points.T))
    return bool(spread[0] > 0.01 * spread[1])


def _interpolation(side: int, nodes: int) -> np.ndarray:
    """(side, nodes): weights of the nodes, GRID apart, for every pixel between them."""
    place = np.arange(side) / GRID
    low = np.floor(place).astype(int)
    weights = np.zeros((side, nodes))
    weights[np.arange(side), low] = 1 - (place - low)
    weights[np.arange(side), low + 1] += place - low
    return weights
