"""What run folders hold, as a page and as Markdown: `write_report`."""

from .page import Written, write_report

__all__ = ["Written", "write_report"]
