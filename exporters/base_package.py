"""`export base`: a Hugging Face model becomes a base package that a device can open."""

import hashlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import onnx

from osd_edge import __version__
from osd_edge.data.arguments import as_model, as_path, expect_callable
from osd_edge.data.files import check_unicode, staged_folder
from osd_edge.data.progress import Progress, silent
from osd_edge.exporters.base_options import BaseOptions
from osd_edge.exporters.genai.files import write_genai_files
from osd_edge.exporters.graph.decoder import write_decoder
from osd_edge.exporters.graph.traced_decoder import traced_decoder
from osd_edge.exporters.graph.traced_graph import Fusion, trace_graph
from osd_edge.exporters.graph.tracers import tracer_named
from osd_edge.exporters.graph.tracers.example import HIDDEN_OUTPUT, POOLER_OUTPUT
from osd_edge.exporters.graph.vectors import insert_vectors, prepare_norms
from osd_edge.exporters.methods.options import check_names
from osd_edge.exporters.models.backbone import backbone_of
from osd_edge.exporters.models.checkpoint import Checkpoint
from osd_edge.exporters.models.compatibility import check_finite
from osd_edge.exporters.models.fingerprint import fingerprint
from osd_edge.exporters.models.generation_facts import generation_facts, longest_text
from osd_edge.exporters.models.image_preparation import image_settings
from osd_edge.exporters.models.sites import choose_sites
from osd_edge.exporters.models.tokenizer import load_tokenizer
from osd_edge.formats.package.manifest import (
    MANIFEST,
    MODEL,
    PLAIN_MODEL,
    TOKENIZER,
    WEIGHTS,
    BaseManifest,
    TextSettings,
)


def export_base(
    model: str | Path, out: str | Path, *, progress: Progress = silent, **options: Any
) -> BaseManifest:
    """Writes the base package of a model: ONNX graph, manifest and tokenizer.

    Args:
        model: the model, a folder or hub id in Hugging Face format.
        out: the folder of the package, which is made.
        progress: shows how far the work is.
        **options: the fields of BaseOptions: `task`, `context`, `sites`, `fuse`, `weights`,
            `factors`, `vectors`, `tracer`, `overwrite`.

    Returns:
        The package's manifest.

    Raises:
        ModelError: the model cannot be exported.
        InputError: an option is malformed, or there is none of that name; `input.path` for a path
            that is none, `input.type` for a progress that is no function.
        OutputError: the folder is taken, or cannot be written. Nothing is left behind.

    Example:
        >>> manifest = export_base("base", "package", sites=["*.attention.*"])
        >>> manifest.family, manifest.sites[0].u is not None
        ('bert', True)
    """
    check_names(options, [field.name for field in fields(BaseOptions)])
    how = BaseOptions(**options)
    model, out = as_model(model, "model"), as_path(out, "out")
    expect_callable(progress, "progress")
    check_unicode(out)
    trace = tracer_named(how.tracer)
    base = Checkpoint(model)
    backbone = backbone_of(base)
    chosen = choose_sites(backbone, how.sites)
    context = longest_text(base, how.context)
    generation = None if how.task is None else generation_facts(backbone, context)
    with staged_folder(out, overwrite=how.overwrite) as folder:
        check_finite(base, list(backbone.parameters), progress)
        digest = fingerprint(base, list(backbone.parameters), progress)
        file = folder / WEIGHTS
        if backbone.family.decoder is not None:
            graph = write_decoder(backbone, file, how.weights, context, generation, progress)
        elif generation is not None:
            graph = traced_decoder(backbone, trace, file, how.weights, generation, progress)
        else:
            graph = trace_graph(
                backbone, trace, file, how.weights, fuse=_fusion(how), progress=progress
            )
        if how.vectors:
            prepare_norms(graph.model)
        onnx.save_model(graph.model, str(folder / PLAIN_MODEL))
        vectors = insert_vectors(graph, backbone, file, how.factors) if how.vectors else ()
        table = graph.branched(chosen, how.factors)
        onnx.save_model(graph.model, str(folder / MODEL))
        text = _write_tokenizer(base, context, folder)
        made = {
            "tool": f"osd-edge {__version__}",
            "fused": how.fuse and bool(backbone.family.fusion),
            "weights": how.weights,
            # A written graph is nobody's trace.
            "tracer": how.tracer if backbone.family.decoder is None else None,
        }
        if generation is not None:
            made["genai"] = write_genai_files(base, generation, backbone.hidden_size, folder)
        manifest = BaseManifest(
            family=backbone.family.model_type,
            fingerprint=digest,
            hidden_size=backbone.hidden_size,
            inputs=backbone.family.inputs,
            hidden_output=HIDDEN_OUTPUT,
            pooler_output=POOLER_OUTPUT if backbone.has_pooler else None,
            sites=table,
            files={path.name: _digest(path) for path in sorted(folder.iterdir())},
            text=text,
            image=image_settings(base) if backbone.family.reads_images else None,
            made=made,
            factors=how.factors,
            mixed_rows=backbone.family.mixed_rows,
            padding="any" if backbone.family.decoder is None else "right",
            generation=generation,
            vectors=vectors,
        )
        (folder / MANIFEST).write_text(manifest.to_json(), "utf-8")
    return manifest


def _fusion(how: BaseOptions) -> Fusion:
    if not how.fuse:
        return Fusion.NOTHING
    return Fusion.BUT_EMBEDDINGS if how.vectors else Fusion.ALL


def _write_tokenizer(base: Checkpoint, context: int, folder: Path) -> TextSettings | None:
    tokenizer = load_tokenizer(base)
    if tokenizer is None:
        return None
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    (folder / TOKENIZER).write_text(backend.to_str(), "utf-8")
    return TextSettings(max_length=context, pad_id=int(tokenizer.pad_token_id))


def _digest(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
