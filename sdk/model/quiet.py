"""What diffusers and transformers print on their own is kept off stderr while a model loads."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No progress bars, hints and warnings of the libraries: what matters is raised as one sentence.

    The settings of both are put back afterwards.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import diffusers.utils.logging
        import transformers.utils.logging

        libraries = (diffusers.utils.logging, transformers.utils.logging)
        levels = [library.get_verbosity() for library in libraries]
        shown = transformers.utils.logging.is_progress_bar_enabled()
        transformers.utils.logging.disable_progress_bar()
        try:
            for library in libraries:
                library.set_verbosity(logging.CRITICAL)
            yield
        finally:
            for library, level in zip(libraries, levels, strict=True):
                library.set_verbosity(level)
            if shown:
                transformers.utils.logging.enable_progress_bar()
