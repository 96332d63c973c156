"""osd-rd, the default method: small integers where they matter to the answers."""

from osd_edge.data.progress import Progress
from osd_edge.exporters.methods.base import Method
from osd_edge.exporters.methods.integer_bundle import calibration_needed, integer_result
from osd_edge.exporters.methods.made import Made
from osd_edge.exporters.methods.options import TaskOptions
from osd_edge.exporters.methods.osd_rd.bundles import RateDistortionBundles, Wanted
from osd_edge.exporters.methods.source import Source


class OsdRd(Method):
    """Rate–distortion OSD: within a budget, or the smallest file that keeps a quality."""

    def check(self, options: TaskOptions) -> None:
        """Refuse (DataError `data.calibration-needed`) what needs calibration rows without any."""
        if options.calibration is not None:
            return
        if options.base_weights != "fp32":
            raise calibration_needed("--base-weights", "leave it out")
        if options.keep is not None:
            raise calibration_needed("--keep")
        if (options.refine or "none") != "none":
            raise calibration_needed(f"--refine {options.refine}")

    def make(self, source: Source, task: str, options: TaskOptions, progress: Progress) -> Made:
        """Compress within the budget, or to the share of the gain that `keep` asks for."""
        bundles = source.shared(RateDistortionBundles, options.seed)
        refine = options.refine or ("scales" if source.examples else "none")
        wanted = Wanted(task, refine, progress, trust_rows=options.trust_rows)
        if options.keep is not None:
            made = bundles.keeping(wanted, options.keep, options.keep_by)
        else:
            made = bundles.within(wanted, options.limit)
        # A head that decides a size learns from all rows.
        quick = options.keep is None
        return integer_result(made, options, bundles.floor, quick=quick)
