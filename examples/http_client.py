"""An edit over HTTP, from `dragtext ui --api` or a WebUI started with --api; the standard library is enough.

python examples/http_client.py http://127.0.0.1:7870
"""

import base64
import io
import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from dragtext.sdk.evaluation.tasks import drag_task
from PIL import Image

address = sys.argv[1].rstrip("/") + "/dragtext/v1"


def call(path: str, body: dict[str, Any] | None = None) -> bytes:
    """The answer to a GET, or to a POST of JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


task = drag_task(6, "move")
buffer = io.BytesIO()
Image.fromarray(task.image).save(buffer, "PNG")
request = {
    "image": base64.b64encode(buffer.getvalue()).decode(),
    "prompt": task.caption,
    "drags": [[list(handle), list(target)] for handle, target in task.drags],
    "settings": {"steps": 6, "inference_steps": 20, "lora_steps": 0},
}
edit = json.loads(call("/edits", request))
while edit["state"] in ("queued", "running"):
    time.sleep(0.5)
    edit = json.loads(call(f"/edits/{edit['id']}"))
    print(edit["state"], edit["phase"], edit["step"])
if edit["state"] != "done":
    sys.exit(str(edit.get("error")))
folder = Path("examples-out")
folder.mkdir(exist_ok=True)
(folder / "http.png").write_bytes(call(f"/edits/{edit['id']}/image"))
