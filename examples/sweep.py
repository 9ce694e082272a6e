"""Any point of the way: a strip between and beyond the two ends of one edit, and the same later from a saved state."""

from pathlib import Path

from dragtext import sdk
from dragtext.sdk.evaluation.tasks import drag_task
from dragtext.sdk.picture.drawing import save_sweep

folder = Path("examples-out")
folder.mkdir(exist_ok=True)
task = drag_task(4, "move")
result = sdk.edit(
    task.image,
    task.drags,
    prompt=task.caption,
    mask=task.mask,
    method="gooddrag",
    steps=8,
    inference_steps=20,
    lora_steps=0,
)
amounts = [0, 0.5, 1, 1.5]
save_sweep(folder / "sweep.png", result.sweep(amounts), [f"v = {amount:g}" for amount in amounts])
result.save_state(folder / "state.safetensors")

later = sdk.open_result(folder / "state.safetensors")  # the embedded model, as for the edit
later.at(1.25).save(folder / "further.png")
