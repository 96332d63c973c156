"""All targets, by name."""

from fuzz.targets import bundles, manifests

TARGETS = {
    target.name: target for target in (bundles.BUNDLE, bundles.HEAD, manifests.MANIFEST_TARGET)
}
