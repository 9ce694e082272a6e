"""Run by WebUIs at every start, and by hand anywhere: installs what is missing, and never what a host pins.

The extension needs nothing that A1111 and Forge do not bring along. OpenCV, which no host lists but all have, is
installed where it really is missing, without its dependencies, so that no pinned package can move.
"""

import importlib.util
import subprocess
import sys

# import name -> distribution
NEEDED = {"cv2": "opencv-python-headless"}


def missing() -> list[str]:
    return [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]


def main() -> None:
    if "--skip-install" in sys.argv:
        return
    for package in missing():
        print(f"DragText: installing {package}")
        command = [sys.executable, "-m", "pip", "install", "--no-deps", package]
        if subprocess.run(command, check=False).returncode:
            print(f"DragText: {package} could not be installed; install it yourself, without its dependencies.")


if __name__ == "__main__":
    main()
