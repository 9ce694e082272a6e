"""How good an edit is: every measure under a name of its own, with its definition beside it.

`METRICS` is the table of them, `measure_edit` computes those that are asked for, `available` says which can be computed
here, and why others cannot. A definition is part of a number: five mean distances are published, and none of them
compares with another.
"""

from .case import Case, reversed_drags
from .registry import METRICS, Metric, available, measure_edit, metric_of
from .tools import Tools

__all__ = ["METRICS", "Case", "Metric", "Tools", "available", "measure_edit", "metric_of", "reversed_drags"]
