"""Mutates task bundles: metadata, head, tensors, or bytes; mostly with the digest repaired."""

from collections.abc import Callable
from random import Random

from fuzz.mutators.coded_tensor import CodedFields, mutate_coded
from fuzz.mutators.container import DTYPES, WRONG_DTYPES, Container, TensorBytes, repaired
from fuzz.mutators.heads import mutate_head, mutate_labels, read
from fuzz.mutators.json_values import STRINGS, mutate_json, mutate_json_text, written
from fuzz.mutators.octets import mutate_octets
from fuzz.mutators.plain_tensors import (
    mutate_counts,
    mutate_length,
    mutate_numbers,
    mutate_positions,
    mutate_sites,
)
from fuzz.mutators.rewritten import rewrite

REPAIRED = 0.93  # of all mutants; the others are refused for their digest, if for nothing before it
_VALUES = {
    "osd.format": ("1", "2", "01", "1.0", "", "one"),
    "osd.site_count": (
        "0",
        "1",
        "7",
        "13",
        "65535",
        "65536",
        "00001",
        "000001",
        "-1",
        "1 ",
        "\u0661",
    ),
    "osd.task": ("a", "-a", "a" * 64, "a" * 65, "a/b", "a\n", "é"),
    "osd.base": ("0" * 64, "A" * 64, "0" * 63, "0" * 65, "0" * 63 + "\n"),
    "osd.sequence": ("1", "0", "01", "9" * 15, "9" * 16, "+1", "\u0661"),
    "osd.signature": ("0" * 144, "a" * 144, "a" * 143, "A" * 144, "0" * 64, ""),
    "osd.text": (
        *('{"max_length":8}', '{"prompt":"a"}', '{"truncation":"left"}', "{}", "[]", "{"),
        *('{"max_length":0}', '{"max_length":2147483648}', '{"prompt":""}', '{"later":1}'),
    ),
    "osd.probe": (
        '{"tolerance":0.1,"cases":[{"text":"a","logits":[1]}]}',
        '{"tolerance":0.1,"cases":[{"text":"a","tokens":[1]}]}',
        '{"tolerance":1,"cases":[{"ids":[1,2],"logits":[-0.0,1e300]}]}',
        *('{"tolerance":0,"cases":[]}', "{}", "null"),
    ),
    "osd.sha256": ("0" * 64, "f" * 63, ""),
}
_SETTINGS = ("osd.text", "osd.probe")
_WORDS = (
    *("max_length", "truncation", "prompt", "left", "right", "tolerance", "cases", "text", "pair"),
    *("ids", "seed", "logits", "tokens", 0, 1, 65535, 65536, 2**31 - 1, 2**31, -0.0, 1e-3, [1], ""),
)
_NAMES = (
    *("osd.coded", "osd.sites", "osd.values", "osd.counts", "osd.positions", "osd.scales"),
    *("osd.head.0.weight", "osd.head.0.u", "osd.head.0.v", "osd.head.0.scale", "osd.head.0.bias"),
    *("osd.head.1.weight", "osd.signature", "osd.probe", "osd.vectors", "info.x", "", "x"),
)


def mutate_bundle(noise: Random, data: bytes, other: bytes) -> bytes:
    """Gives a mutant of the bundle `data`; parts of it may come from `other`."""
    return _mutated(noise, data, other, _STEPS)


def mutate_bundle_head(noise: Random, data: bytes, other: bytes) -> bytes:
    """Gives a mutant of the bundle `data` whose head and labels are changed, and little else."""
    return _mutated(noise, data, other, _HEAD_STEPS)


Step = Callable[[Random, Container, Container], None]


def _mutated(noise: Random, data: bytes, other: bytes, steps: tuple[Step, ...]) -> bytes:
    kind = noise.random()
    container = Container.of(data) if kind > 0.1 else None
    if kind > 0.92:
        result = rewrite(noise, data) or mutate_octets(noise, data, other)
    elif container is None:
        result = mutate_octets(noise, data, other)
    else:
        source = (Container.of(other) if noise.random() < 0.1 else None) or container
        for _ in range(noise.choice((1, 1, 1, 2, 3))):
            noise.choice(steps)(noise, container, source)
        result = container.file(noise)
    return repaired(result) if noise.random() < REPAIRED else result


def _metadata(noise: Random, container: Container, source: Container) -> None:
    keys = list(container.metadata)
    if not keys:
        return
    key = noise.choice(keys)
    kind = noise.randrange(6)
    if kind == 0:
        del container.metadata[key]
    elif kind == 1:
        container.metadata[noise.choice((*_VALUES, *_NAMES, *STRINGS))] = noise.choice(STRINGS)
    elif kind == 2:
        container.metadata[key] = noise.choice((*STRINGS, 0, None, [], {}))
    elif kind == 3 and key in source.metadata:
        container.metadata[key] = source.metadata[key]
    else:
        key = noise.choice(list(_VALUES)[:-1])
        container.metadata[key] = noise.choice(_VALUES[key])


def _tensor(noise: Random, container: Container, source: Container) -> None:
    names = list(container.parts)
    kind = noise.randrange(7)
    if kind == 0 or not names:
        name = noise.choice(_NAMES)
        dtype = noise.choice(list(DTYPES))
        shape = noise.choice(([], [0], [1], [4], [0, 4], [1, 1], [2, 3]))
        made = TensorBytes(dtype, list(shape), b"")
        count = 1
        for size in shape:
            count *= size
        made.data = noise.randbytes(count * DTYPES[dtype])
        container.parts[name] = made
        return
    name = noise.choice(names)
    part = container.parts[name]
    if kind == 1:
        del container.parts[name]
    elif kind == 2:
        container.parts[noise.choice(_NAMES)] = container.parts.pop(name)
    elif kind == 3 and source.parts:
        taken = noise.choice(list(source.parts))
        container.parts[taken] = source.parts[taken]
    elif kind == 4:
        part.dtype = noise.choice((*DTYPES, *WRONG_DTYPES))
        if noise.random() < 0.7 and part.shape:
            part.reshape()
    elif kind == 5 and part.shape:
        part.shape = noise.choice(
            (part.shape[::-1], [1, *part.shape], part.shape[:-1], [*part.shape, 1])
        )
    else:
        noise.shuffle(names)
        container.parts = {each: container.parts[each] for each in names}


def _numbers(noise: Random, container: Container, source: Container) -> None:
    if container.parts:
        noise.choice((mutate_numbers, mutate_numbers, mutate_length))(
            noise, noise.choice(list(container.parts.values()))
        )


def _coded(noise: Random, container: Container, source: Container) -> None:
    part = container.parts.get("osd.coded")
    if part is None:
        _numbers(noise, container, source)
        return
    head = read(container, "osd.head")
    layers = head.get("layers") if isinstance(head, dict) else None
    fields = CodedFields.of(part.data, layers) if isinstance(layers, list) else None
    _change_fields(noise, part, fields)


def _change_fields(noise: Random, part: TensorBytes, fields: CodedFields | None) -> None:
    """Changes a field of a coded tensor, or its bytes where it could not be taken apart."""
    if fields is None:
        part.data = mutate_octets(noise, part.data)
    else:
        mutate_coded(noise, fields)
        part.data = fields.tensor()
    part.shape = [len(part.data)]


def _vectors(noise: Random, container: Container, source: Container) -> None:
    part = container.parts.get("osd.vectors")
    if part is None:
        taken = source.parts.get("osd.vectors")
        if taken is not None:
            container.parts["osd.vectors"] = taken
        else:
            _coded(noise, container, source)
        return
    _change_fields(noise, part, CodedFields.of_vectors(part.data))


def _settings(noise: Random, container: Container, source: Container) -> None:
    """Changes text settings or the probe, which most bundles lack at first."""
    key = noise.choice(_SETTINGS)
    value = read(container, key)
    if value is None:
        container.metadata[key] = noise.choice(_VALUES[key])
    else:
        text = written(noise, mutate_json(noise, value, _WORDS))
        container.metadata[key] = mutate_json_text(noise, text) if noise.random() < 0.05 else text


def _plain(noise: Random, container: Container, source: Container) -> None:
    if "osd.coded" in container.parts:
        _coded(noise, container, source)
    else:
        noise.choice((mutate_sites, mutate_counts, mutate_positions))(noise, container)


def _head(noise: Random, container: Container, source: Container) -> None:
    mutate_head(noise, container)


def _labels(noise: Random, container: Container, source: Container) -> None:
    mutate_labels(noise, container)


_STEPS: tuple[Step, ...] = (
    _metadata,
    _tensor,
    _numbers,
    _numbers,
    _coded,
    _coded,
    _plain,
    _plain,
    _vectors,
    _settings,
    _head,
)
_HEAD_STEPS: tuple[Step, ...] = (_head, _head, _head, _labels, _numbers)
