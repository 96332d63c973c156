"""OSD Edge: many fine-tuned tasks over one base model on a small device.

`osd_edge` holds what workstation and device agree on: the bundle format, its coding, the base
manifest, heads and errors. Workstation: `osd_edge.exporters`. Device: `osd_edge.runtime`.
Measurement: `osd_edge.device_tests`.
"""

__version__ = "0.1.0"
