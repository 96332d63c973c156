"""The facts of a base package that writes text: its limits, its key caches, its stop tokens."""

from dataclasses import dataclass

from osd_edge.formats.package.chat_template import Chat

LOGITS = "logits"  # the output `[batch, 1, vocabulary]`, at each row's last token
ALL_LOGITS = "all_logits"  # the input that asks for logits at every token where it is 1
PAST = "past_key_values.{layer}.{part}"  # the inputs with keys and values of earlier tokens
PRESENT = "present.{layer}.{part}"  # the outputs with those and the new tokens' own
PARTS = ("key", "value")


@dataclass(frozen=True)
class Generation:
    """The facts of a base that writes text, a token after the other.

    Attributes:
        context: The most tokens of a prompt and its answer together.
        vocabulary: The number of tokens that there are, and of logits.
        layers: Layers that keep keys and values.
        heads: Heads of keys and values in each layer.
        head_size: Features of a head.
        in_place: Whether keys and values may be written into the buffer that holds the past ones.
        stop_ids: Ids of the tokens that end an answer.
        chat: The form of conversations that the model was taught, None where there is none.

    >>> from osd_edge.formats.package.generation import Generation
    >>> facts = Generation(8192, 49152, 30, 3, 64, True, (2,))
    >>> facts.past[:2]
    ('past_key_values.0.key', 'past_key_values.0.value')
    >>> facts.bytes_of_a_token  # 30 layers, keys and values, 3 heads of 64 numbers, 4 bytes each
    46080
    """

    context: int
    vocabulary: int
    layers: int
    heads: int
    head_size: int
    in_place: bool
    stop_ids: tuple[int, ...]
    chat: Chat | None = None

    @property
    def past(self) -> tuple[str, ...]:
        """Names of the inputs that take past keys and values, a layer after the other."""
        return self._names(PAST)

    @property
    def present(self) -> tuple[str, ...]:
        """Names of the outputs with keys and values, in the order of `past`."""
        return self._names(PRESENT)

    @property
    def bytes_of_a_token(self) -> int:
        """Bytes that the keys and values of one token take."""
        return 4 * self.layers * len(PARTS) * self.heads * self.head_size

    def _names(self, pattern: str) -> tuple[str, ...]:
        return tuple(
            pattern.format(layer=layer, part=part) for layer in range(self.layers) for part in PARTS
        )
