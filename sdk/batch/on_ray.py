"""A run's groups done by actors on a Ray cluster: one machine with several cards, or many that share a disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from ..errors import DragTextError, InputError
from .folder import RunFolder
from .tasks import Group
from .worker import OnRow, Plan, ShouldStop, Worker, undone

_LOOK = 0.5  # seconds between two looks whether the run shall stop
_TRIES = 3  # how often a group is begun anew whose actor died


@dataclass(frozen=True)
class Cluster:
    """address: as `ray.init` takes it; "local" begins a cluster of this machine's own. workers: actors, None is one per
    GPU, or per two cores where there is none.
    """

    address: str = "local"
    workers: int | None = None


def on_ray(plan: Plan, groups: Sequence[Group], cluster: Cluster, on_row: OnRow, should_stop: ShouldStop) -> None:
    """Actors take one group after the other. The run's folder must be seen by all machines under the same path.

    A group whose actor dies is begun anew by another, up to three times; what it had finished is kept. Once
    `should_stop` says so, each actor finishes the edit in hand. Raises InputError without Ray or a cluster.
    """
    try:
        ray: Any = import_module("ray")  # an extra, which need not be there
    except ImportError:
        raise InputError("A cluster needs the ray package: pip install 'dragtext[ray]'.") from None
    plan = replace(plan, folder=plan.folder.absolute())
    began = not ray.is_initialized()
    try:
        if began:
            address = None if cluster.address == "local" else cluster.address
            ray.init(address=address, log_to_driver=False, include_dashboard=False, configure_logging=False)
    except (ConnectionError, ValueError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"There is no Ray cluster at {cluster.address} ({reason}); see `ray status`.") from None
    try:
        _run(ray, plan, groups, cluster.workers, on_row, should_stop)
    finally:
        if began:
            ray.shutdown()


def _run(
    ray: Any, plan: Plan, groups: Sequence[Group], workers: int | None, on_row: OnRow, should_stop: ShouldStop
) -> None:
    resources = ray.cluster_resources()
    gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    count = workers or gpus or max(1, cores // 2)
    share = {"num_gpus": min(1.0, gpus / count)} if gpus else {"num_cpus": max(1, cores // count)}
    folder = RunFolder(plan.folder)
    pending = list(undone(folder, groups))
    actor_class = ray.remote(_Actor)
    # Two calls at once: an edit, and the word that it shall be the last.
    new_actor = actor_class.options(**share, max_restarts=0, max_concurrency=2).remote
    idle = [new_actor(plan) for _ in range(min(count, len(pending)))]
    tries: dict[str, int] = {}
    at_work: dict[Any, tuple[Any, Group]] = {}
    known, told = folder.rows(), False
    while pending or at_work:
        while pending and idle and not should_stop():
            actor, group = idle.pop(), pending.pop(0)
            at_work[actor.do.remote(group)] = actor, group
        if not at_work:
            return
        ready, _ = ray.wait(list(at_work), timeout=_LOOK)
        if should_stop() and not told:
            told = True
            for actor, _ in at_work.values():
                actor.stop.remote()
        for reference in ready:
            actor, group = at_work.pop(reference)
            try:
                answer = ray.get(reference)
            except ray.exceptions.RayActorError:
                tries[group.name] = tries.get(group.name, 0) + 1
                if tries[group.name] >= _TRIES:
                    raise InputError(
                        f"Workers died {_TRIES} times at {group.name}, for example for want of memory; the same "
                        "command goes on from what is done."
                    ) from None
                pending.append(group)
                actor = new_actor(plan)
            else:
                if isinstance(answer, DragTextError):
                    raise answer
            idle.append(actor)
        if ready:
            before, known = known, folder.rows()  # with those of actors that have died since
            for key, row in known.items():
                if before.get(key) != row:
                    on_row(row)


class _Actor:
    """A worker, which loads its model with its first group, and a word that it shall stop."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.worker, self.stopping = plan, None, False

    def stop(self) -> None:
        self.stopping = True

    def do(self, group: Group) -> DragTextError | None:
        try:
            self.worker = self.worker or Worker(self.plan)
            self.worker.do(group, lambda _row: None, lambda: self.stopping)
        except DragTextError as error:
            return error
        return None
