"""Reading pictures and masks as an edit reads them, for scripts of one's own."""

from .picture.masks import load_mask
from .picture.reading import LoadedImage, load_image

__all__ = ["LoadedImage", "load_image", "load_mask"]
