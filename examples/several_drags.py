"""Several drags on one picture: what is paid once per picture is paid by the first, and the third goes step by step."""

from dragtext import sdk
from dragtext.sdk.evaluation.tasks import drag_task

task = drag_task(3, "move")
editor = sdk.Editor(sdk.load_model(), task.image, prompt=task.caption)
quick = sdk.Settings(method="gooddrag", steps=6, inference_steps=20, lora_steps=4, lora_batch=1)

for drags in (task.drags, [(target, handle) for handle, target in task.drags]):
    result = editor.drag(drags, settings=quick)
    print({phase: round(seconds, 1) for phase, seconds in result.timings.items()})

with editor.steps(task.drags, settings=quick) as run:
    for progress in run:
        if progress.phase == "drag" and progress.done == 3:
            run.stop()  # enough; what has been reached is rendered
    print("stopped after", run.result().steps, "updates")
