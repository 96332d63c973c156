"""OSD Edge: many fine-tuned tasks over one base model on a small device.

`osd_edge` holds what workstation and device agree on: task bundles, base packages, examples and
errors. `osd_edge.exporters` makes bundles on a workstation, `osd_edge.runtime` runs them on a
device, and `osd_edge.device_tests` measures what they cost there.

What the `__all__` of these four packages lists is public. Everything else, in whatever module, is
private and may change in any release.

Importing `osd_edge` loads nothing but the standard library; a name is imported from its module when
it is first asked for.

>>> from pathlib import Path
>>> import osd_edge
>>> bundle = osd_edge.read_bundle_file(Path("colours.osd.safetensors"))
>>> osd_edge.check_fits(bundle, osd_edge.read_manifest(Path("base")))
>>> bundle.labels
('red', 'green', 'blue')
"""

from typing import TYPE_CHECKING

from osd_edge.on_demand import import_on_demand

if TYPE_CHECKING:
    from osd_edge.data.examples import Example, read_examples, write_tsv
    from osd_edge.data.progress import Progress, silent
    from osd_edge.errors import (
        ApiError,
        BaseError,
        BudgetError,
        BundleError,
        Code,
        ConversationError,
        DataError,
        DeviceError,
        InputError,
        ModelError,
        OsdEdgeError,
        OutputError,
        ReportError,
        TaskError,
    )
    from osd_edge.formats.bundle.model import Bundle
    from osd_edge.formats.bundle.probe import Probe, ProbeCase
    from osd_edge.formats.bundle.reader import read_bundle, read_bundle_file
    from osd_edge.formats.bundle.text import TaskText
    from osd_edge.formats.bundle.vectors import VectorDelta
    from osd_edge.formats.bundle.writer import write_bundle
    from osd_edge.formats.package.fits import check_fits
    from osd_edge.formats.package.generation import Generation
    from osd_edge.formats.package.manifest import BaseManifest, ImageSettings, TextSettings
    from osd_edge.formats.package.manifest_reader import check_digests, read_manifest
    from osd_edge.formats.package.vectors import Vector

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "BaseError",
    "BaseManifest",
    "BudgetError",
    "Bundle",
    "BundleError",
    "Code",
    "ConversationError",
    "DataError",
    "DeviceError",
    "Example",
    "Generation",
    "ImageSettings",
    "InputError",
    "ModelError",
    "OsdEdgeError",
    "OutputError",
    "Probe",
    "ProbeCase",
    "Progress",
    "ReportError",
    "Site",
    "TaskError",
    "TaskText",
    "TextSettings",
    "Vector",
    "VectorDelta",
    "__version__",
    "check_digests",
    "check_fits",
    "read_bundle",
    "read_bundle_file",
    "read_examples",
    "read_manifest",
    "silent",
    "write_bundle",
    "write_tsv",
]

if not TYPE_CHECKING:  # else type checkers would take any name for one of this module
    _WHERE = {
        "ApiError": "errors",
        "BaseError": "errors",
        "BaseManifest": "formats.package.manifest",
        "BudgetError": "errors",
        "Bundle": "formats.bundle.model",
        "BundleError": "errors",
        "Code": "errors",
        "ConversationError": "errors",
        "DataError": "errors",
        "DeviceError": "errors",
        "Example": "data.examples",
        "Generation": "formats.package.generation",
        "ImageSettings": "formats.package.manifest",
        "Site": "formats.package.sites",
        "TextSettings": "formats.package.manifest",
        "InputError": "errors",
        "ModelError": "errors",
        "OsdEdgeError": "errors",
        "OutputError": "errors",
        "Probe": "formats.bundle.probe",
        "ProbeCase": "formats.bundle.probe",
        "Progress": "data.progress",
        "ReportError": "errors",
        "TaskError": "errors",
        "TaskText": "formats.bundle.text",
        "Vector": "formats.package.vectors",
        "VectorDelta": "formats.bundle.vectors",
        "check_digests": "formats.package.manifest_reader",
        "check_fits": "formats.package.fits",
        "read_bundle": "formats.bundle.reader",
        "read_bundle_file": "formats.bundle.reader",
        "read_examples": "data.examples",
        "read_manifest": "formats.package.manifest_reader",
        "silent": "data.progress",
        "write_bundle": "formats.bundle.writer",
        "write_tsv": "data.examples",
    }
    __getattr__, __dir__ = import_on_demand(__name__, _WHERE)
