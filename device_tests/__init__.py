"""What tasks cost on this device: latency against the plain graph, swaps, resident memory.

`measure` gives a Report. Needs what the runtime needs, numpy and onnxruntime; neither is
imported before memory has been measured (see `memory`).
"""

from osd_edge.device_tests.memory import MemoryScenario, MemoryUse
from osd_edge.device_tests.report import Report, Settings, measure

__all__ = ["MemoryScenario", "MemoryUse", "Report", "Settings", "measure"]
