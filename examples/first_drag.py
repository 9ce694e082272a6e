"""One drag on the embedded model: a figure of a drawn scene is moved, and the picture saved with its request."""

from pathlib import Path

from dragtext import sdk
from dragtext.sdk.evaluation.tasks import drag_task

task = drag_task(2, "move")  # a drawn scene, a handle, a target, a mask
result = sdk.edit(
    task.image,
    drags=task.drags,
    prompt=task.caption,
    mask=task.mask,
    on_progress=lambda progress: print(progress.phase, progress.done, "of", progress.total),
)
folder = Path("examples-out")
folder.mkdir(exist_ok=True)
result.save(folder / "first-drag.png")
for drag in result.drags:
    print(f"{drag.start} -> {drag.final}, {drag.distance_after:.0f} px from its target")
