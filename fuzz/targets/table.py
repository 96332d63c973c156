"""All targets, by name."""

from fuzz.targets.bundles import BUNDLE, HEAD
from fuzz.targets.graphs import GRAPH, GRAPH_FILE
from fuzz.targets.manifests import MANIFEST_TARGET
from fuzz.targets.tokenizers import TOKENIZER_TARGET

TARGETS = {
    target.name: target
    for target in (BUNDLE, HEAD, MANIFEST_TARGET, TOKENIZER_TARGET, GRAPH_FILE, GRAPH)
}
