"""Every code of a refusal, once, with what it means.

A code is `kind.reason`. The kind names the error class that carries it (`bundle` is BundleError's),
and a code never changes its meaning: programs and runtimes in other languages rely on it. The page
docs/errors.md is made from this table by `python -m osd_edge.errors.page`.
"""

from enum import StrEnum


class Code(StrEnum):
    """A stable code of a refusal; equal to its text, with its meaning beside it.

    Attributes:
        kind: The part before the dot, which names the error class.
        meaning: What the code says, in words.

    >>> from osd_edge import Code
    >>> Code.BUNDLE_DIGEST == "bundle.digest", Code.BUNDLE_DIGEST.kind
    (True, 'bundle')
    >>> Code.BUDGET_MALFORMED.meaning
    'not a budget'
    """

    meaning: str

    def __new__(cls, text: str, meaning: str) -> "Code":
        """Makes a member of the table, of the code's text and its meaning as the docs give it."""
        member = str.__new__(cls, text)
        member._value_ = text
        member.meaning = meaning
        return member

    @property
    def kind(self) -> str:
        """The part before the dot, what is refused: `bundle`, `base`, `model` and so on."""
        return self.value.partition(".")[0]

    # Task bundles, in the order of the checks
    BUNDLE_MISSING = (
        "bundle.missing",
        "the file cannot be read from the disk; no vector can show it",
    )
    BUNDLE_TOO_SHORT = "bundle.too-short", "less than 8 bytes"
    BUNDLE_HEADER_LENGTH = (
        "bundle.header-length",
        "the header's length is above 1 MiB or beyond the file's end; or the file is above 2 GiB",
    )
    BUNDLE_HEADER_JSON = (
        "bundle.header-json",
        "the header is not strict JSON, not an object, or `__metadata__` is not an object of "
        "strings",
    )
    BUNDLE_NOT_A_BUNDLE = "bundle.not-a-bundle", "no `osd.format`: someone else's safetensors file"
    BUNDLE_VERSION = "bundle.version", "`osd.format` is not `1`"
    BUNDLE_TENSOR_ENTRY = (
        "bundle.tensor-entry",
        "a tensor's entry is malformed, of an unknown type, or its shape and offsets disagree",
    )
    BUNDLE_TENSOR_LAYOUT = "bundle.tensor-layout", "tensors leave a gap or overlap"
    BUNDLE_TRUNCATED = "bundle.truncated", "the file ends before its last tensor"
    BUNDLE_TRAILING_BYTES = "bundle.trailing-bytes", "the file goes on after its last tensor"
    BUNDLE_DIGEST = (
        "bundle.digest",
        "`osd.sha256` is missing, malformed, not found exactly once, or not that of the file",
    )
    BUNDLE_KEY_UNKNOWN = (
        "bundle.key-unknown",
        "a metadata key, or a setting in `osd.text`, that must be understood is unknown",
    )
    BUNDLE_KEY_MISSING = "bundle.key-missing", "a required metadata key is missing"
    BUNDLE_KEY_VALUE = (
        "bundle.key-value",
        "a metadata value is malformed, or is not strict JSON where JSON is due",
    )
    BUNDLE_SIGNATURE = (
        "bundle.signature",
        "`osd.signature` is not 144 hex digits that stand exactly once in the header",
    )
    BUNDLE_TENSOR_MISSING = (
        "bundle.tensor-missing",
        "a tensor that must be there is missing; one of counts and positions, where the other is",
    )
    BUNDLE_TENSOR_TYPE = (
        "bundle.tensor-type",
        "a tensor has another type or number of dimensions, or `osd.sites` has not 4 columns",
    )
    BUNDLE_TENSOR_UNKNOWN = (
        "bundle.tensor-unknown",
        "a tensor that must be understood is unknown, or is there for nothing",
    )
    BUNDLE_SITE_ORDER = (
        "bundle.site-order",
        "more sites than `osd.site_count`, or a site index that does not ascend or reaches it",
    )
    BUNDLE_SITE_RANK = "bundle.site-rank", "k is 0 or above min(n, d)"
    BUNDLE_COUNTS = (
        "bundle.counts",
        "`osd.counts` has another shape, a count above its slots, or is there for nothing",
    )
    BUNDLE_STREAM_LENGTH = (
        "bundle.stream-length",
        "`osd.values`, `osd.positions` or `osd.scales` is longer or shorter than the sites need",
    )
    BUNDLE_NOT_FINITE = (
        "bundle.not-finite",
        "NaN or infinity among values, scales, or numbers of the head; or a scale beyond 2^64",
    )
    BUNDLE_POSITIONS = "bundle.positions", "a position code is not canonical"
    BUNDLE_VALUE_ZERO = "bundle.value-zero", "a zero among the non-zero values"
    BUNDLE_CODED_TABLE = (
        "bundle.coded-table",
        "a number, a shape, a vector or a scale in `osd.coded` or `osd.vectors` is malformed, or "
        "the bytes end too early; or rows follow where there are neither sites nor a head",
    )
    BUNDLE_CODED_SIZE = (
        "bundle.coded-size",
        "as many coded rows as they have bytes, or more",
    )
    BUNDLE_CODED_STREAM = (
        "bundle.coded-stream",
        "the coded rows are not canonical: lanes, states, words, raw bits, or slots that fill "
        "up a row",
    )
    BUNDLE_CODED_ZERO = (
        "bundle.coded-zero",
        "a column of a site's U or V is all zeros, or a vector is",
    )
    BUNDLE_LABELS = (
        "bundle.labels",
        "`osd.labels` is not a list of distinct names, or not those that the head's kind and "
        "outputs ask for",
    )
    BUNDLE_HEAD = "bundle.head", "`osd.head` is malformed, or does not fit the head's tensors"
    BUNDLE_HEAD_KIND = (
        "bundle.head-kind",
        "a kind, pooling or activation that the reader does not know",
    )
    BUNDLE_TEXT = (
        "bundle.text",
        "`osd.text` is malformed, or sets a prompt for a kind that judges tokens",
    )
    BUNDLE_PROBE = "bundle.probe", "`osd.probe` is malformed, or has answers of another kind"
    BUNDLE_SLOTS = (
        "bundle.slots",
        "factors, head and vectors have more than 128 slots for each byte of the file",
    )
    BUNDLE_BASE = "bundle.base", "made for another base"
    BUNDLE_SITE_MISMATCH = (
        "bundle.site-mismatch",
        "the base has another number of sites, or another shape for one",
    )
    BUNDLE_SITE_BRANCH = "bundle.site-branch", "the base package has no branch for a site"
    BUNDLE_HEAD_BASE = (
        "bundle.head-base",
        "the head needs a pooler or logits that the base does not give, or another hidden size",
    )
    BUNDLE_VECTOR_BASE = (
        "bundle.vector-base",
        "the base package takes no changes of biases and norms, or has no such vector",
    )
    # Base packages
    BASE_MISSING = "base.missing", "no readable `manifest.json`"
    BASE_MANIFEST = "base.manifest", "the manifest is not JSON or lacks a field"
    BASE_VERSION = "base.version", "another format version"
    BASE_FILE = (
        "base.file",
        "a file is missing, has another size, is a link, or changes while it is open",
    )
    BASE_DIGEST = "base.digest", "a file's bytes differ from those exported"
    BASE_GRAPH = (
        "base.graph",
        "the graph is malformed or takes weights from elsewhere, or onnxruntime cannot open it, "
        "or it is not the one that the manifest describes, "
        "or gives results of other shapes",
    )
    BASE_TEXT = (
        "base.text",
        "text was asked of a package without a tokenizer, or of one that fails",
    )
    BASE_GENERATION = (
        "base.generation",
        "text is to be written over a package that gives no logits",
    )
    BASE_CHAT = (
        "base.chat",
        "messages were given to a package without a form of conversations, or with one that fails",
    )
    BASE_IMAGE = (
        "base.image",
        "pictures were given to a package that does not say how they are prepared",
    )
    # Checkpoints and adapters
    MODEL_MISSING = "model.missing", "neither a folder nor a model that the hub gives"
    MODEL_CONFIG = "model.config", "no readable `config.json`, or one that describes no model"
    MODEL_WEIGHTS = "model.weights", "no safetensors weights, or they are damaged"
    MODEL_TENSOR = "model.tensor", "a tensor that the model needs is missing"
    MODEL_FAMILY = (
        "model.family",
        "a model type that is not known, or that needs code of the model's own, which is never "
        "run: families.md adds one",
    )
    MODEL_QUANTISED = (
        "model.quantised",
        "quantised weights of a model or an adapter, by the configuration, the names of tensors "
        "or their type",
    )
    MODEL_ADAPTER = "model.adapter", "no readable PEFT adapter, or one that does not fit the base"
    MODEL_ADAPTER_METHOD = (
        "model.adapter-method",
        "an adapter that is not a difference from the base's weights, or has tensors that are "
        "not known",
    )
    MODEL_IMAGES = (
        "model.images",
        "a malformed `preprocessor_config.json`, or one that asks for what is not done here; "
        "none, and pictures are to calibrate",
    )
    MODEL_ARCHITECTURE = (
        "model.architecture",
        "the fine-tuned model, or its configuration, has another architecture than the base",
    )
    MODEL_SHAPE = (
        "model.shape",
        "a weight has another shape than the base's, or a head's layer than the one before it "
        "needs",
    )
    MODEL_VOCABULARY = (
        "model.vocabulary",
        "an embedding has another size than the base's, or than the configuration's vocabulary",
    )
    MODEL_TOKENIZER = "model.tokenizer", "the tokenizer differs from the base's, or cannot be read"
    MODEL_STOP = (
        "model.stop",
        "a model that is to write text names no token that ends an answer, or one that is none",
    )
    MODEL_TEMPLATE = "model.template", "a chat template that cannot be read, or cannot be rendered"
    MODEL_SAME = (
        "model.same",
        "the fine-tuned linear layers equal the base's: only `--method head` takes such a model",
    )
    MODEL_HEAD = (
        "model.head",
        "no head of a known kind of task, or layers of it are missing; where labels are needed, "
        "a kind without",
    )
    MODEL_FOREIGN = (
        "model.foreign",
        "the weights are no fine-tuned version of the base's: another base's, or drawn anew",
    )
    MODEL_NOT_FINITE = "model.not-finite", "NaN, infinity or a value beyond 10¹⁸ in a weight"
    MODEL_RANGE = "model.range", "a value too large for fp16"
    MODEL_GRAPH = "model.graph", "a layer could not be proved in the exported graph"
    MODEL_DIGEST = "model.digest", "the demo's base is not the published one"
    # Files of examples
    DATA_MISSING = "data.missing", "a file of examples is not there, is no file or cannot be read"
    DATA_ENCODING = "data.encoding", "a file of examples is not UTF-8"
    DATA_KIND = (
        "data.kind",
        "a file of examples is neither `.tsv`, `.txt` nor `.jsonl`, or has completions or messages "
        "for a task that generates no text",
    )
    DATA_EMPTY = "data.empty", "it holds no examples"
    DATA_HEADER = "data.header", "its first line is no header"
    DATA_ROW = "data.row", "a row of it is malformed"
    DATA_LABEL = "data.label", "a label that the model does not know"
    DATA_PAIRS = "data.pairs", "pairs of texts beside single texts"
    DATA_LABELS_NEEDED = "data.labels-needed", "a method needs labels, and there are none"
    DATA_UNLABELLED = (
        "data.unlabelled",
        "labels are needed, and a row has none; some pictures of a folder have one and some "
        "have none",
    )
    DATA_IMAGES = (
        "data.images",
        "texts to calibrate a base that takes pictures, or pictures for one that takes texts",
    )
    DATA_PICTURE = "data.picture", "a picture that cannot be read"
    DATA_TOKENIZER = "data.tokenizer", "texts, but neither model has a tokenizer"
    DATA_CALIBRATION_NEEDED = (
        "data.calibration-needed",
        "refinement, `--keep`, `--base-weights` or a head-only bundle without a calibration set",
    )
    DATA_COMPLETION = (
        "data.completion",
        "a row of a task that generates text, without what is to be written",
    )
    DATA_FEW_ROWS = "data.few-rows", "`--keep` with fewer than 200 calibration rows"
    DATA_SEEN = (
        "data.seen",
        "`--keep` would decide by rows that the fine-tuned model seems to have been trained on",
    )
    DATA_NO_GAIN = (
        "data.no-gain",
        "`--keep` for a task where a frozen head, or the base alone, is as good",
    )
    DATA_PROBE = "data.probe", "too few examples of a label for a frozen probe"
    # Budgets
    BUDGET_MALFORMED = "budget.malformed", "not a budget"
    BUDGET_TOO_SMALL = "budget.too-small", "less than the smallest bundle, which is named"
    BUDGET_KEEP = "budget.keep", "no file up to 1 MiB keeps the share that `--keep` asks for"
    # Tasks of a session
    TASK_NEEDS = "task.needs", "the task needs what this runtime cannot do"
    TASK_RANGE = "task.range", "factors too large for a base package with fp16 factors"
    TASK_UNKNOWN = "task.unknown", "no such task is loaded"
    TASK_TAKEN = "task.taken", "the name is in use"
    TASK_NONE = "task.none", "no task is active"
    TASK_KIND = "task.kind", "the task is of another kind than what is asked of it"
    TASK_NOT_FINITE = "task.not-finite", "a run with the task gives NaN or infinity"
    TASK_CLOSED = "task.closed", "the session was closed"
    TASK_FORK = (
        "task.fork",
        "the session was opened before the process was forked: the new process opens its own, or "
        "is started by the method `spawn`",
    )
    # Conversations
    CONVERSATION_TASK = (
        "conversation.task",
        "the keys are another task's than the one that is to answer: it was swapped, replaced or "
        "unloaded, and `recompute` is not asked for",
    )
    CONVERSATION_FULL = "conversation.full", "no room for what is said within the limit"
    CONVERSATION_BUSY = (
        "conversation.busy",
        "another call, or a stream that is not at its end, is at work on the conversation",
    )
    CONVERSATION_FILE = (
        "conversation.file",
        "a conversation's file cannot be read, is damaged, or is none",
    )
    CONVERSATION_BASE = "conversation.base", "a conversation's file of another base package"
    # Requests to `osd-edge api`
    API_HOST = "api.host", "a request by a name that is not the server's"
    API_KEY = "api.key", "a request without the server's key"
    API_ROUTE = "api.route", "no such address"
    API_METHOD = "api.method", "an address that takes another method"
    API_HEAD = "api.head", "the head of a request is no HTTP"
    API_HEAD_LENGTH = "api.head-length", "the head of a request is longer than the server takes"
    API_BODY_LENGTH = "api.body-length", "a body larger than the server takes"
    API_MEDIA_TYPE = "api.media-type", "a body of another type than `application/json`"
    API_BODY = "api.body", "a body that is not a JSON object in UTF-8"
    API_FIELD = (
        "api.field",
        "a field that is missing, of another type, not known, or asks for what is not supported",
    )
    API_MODEL = "api.model", "no task, and no base, of the name that `model` has"
    API_SLOW = "api.slow", "a request that was not there in time"
    API_BUSY = "api.busy", "as many requests wait as may, or as many connections are open"
    API_TIMEOUT = "api.timeout", "an answer that was not whole in its time"
    API_STOPPED = "api.stopped", "the server ended before the answer did"
    API_FAILED = "api.failed", "the server failed, where it should have answered or refused"
    # Arguments and run inputs
    INPUT_QUESTION = "input.question", "a task that finds answers, and no question"
    INPUT_STRIDE = "input.stride", "a stride below 0, or no whole number"
    INPUT_KIND = "input.kind", "an unknown kind of task"
    INPUT_LABELS = (
        "input.labels",
        "labels of an adapter that are not distinct, or not as many as the head has outputs",
    )
    INPUT_ADAPTER = (
        "input.adapter",
        "an adapter's file is not named NAME.onnx_adapter; a head over the unchanged base, for "
        "which PEFT has no place",
    )
    INPUT_NAMES = "input.names", "run inputs with the wrong names"
    INPUT_SHAPE = "input.shape", "run inputs with the wrong shapes"
    INPUT_RUN = "input.run", "onnxruntime refused the inputs of a run"
    INPUT_TASKS = "input.tasks", "not one task for each row, or a task beside them"
    INPUT_MEMORY = "input.memory", "an unknown memory profile"
    INPUT_TEXTS = "input.texts", "not a list of texts"
    INPUT_PROMPT = (
        "input.prompt",
        "no list of prompts; an empty prompt, or one that is neither text, nor messages, nor token "
        "ids that the base knows",
    )
    INPUT_CONTEXT = "input.context", "a prompt that leaves no room for an answer"
    INPUT_MESSAGES = "input.messages", "not a list of messages with a role and content, of text"
    INPUT_ROLE = (
        "input.role",
        "a message of a role that the base does not know, or where the base takes none of it",
    )
    INPUT_MAX_LENGTH = "input.max-length", "a length out of range"
    INPUT_TOKENIZERS = "input.tokenizers", "the `tokenizers` package is missing"
    INPUT_TASK_NAME = "input.task-name", "a malformed task name, or one that two bundles have"
    INPUT_SITES = "input.sites", "a glob that matches no layer"
    INPUT_SIZE = "input.size", "a malformed size"
    INPUT_NUMBER = "input.number", "a number out of range, or no number"
    INPUT_PATH = "input.path", "a path that is neither text nor a Path"
    INPUT_TYPE = "input.type", "an argument of another type than the function takes"
    INPUT_WEIGHTS = "input.weights", "an unknown kind of base weights"
    INPUT_METHOD = "input.method", "an unknown method"
    INPUT_VALUES = "input.values", "an unknown value type"
    INPUT_REFINE = "input.refine", "an unknown refinement"
    INPUT_EXTRA_RANK = "input.extra-rank", "a c that is negative, or no whole number"
    INPUT_FACTORS = "input.factors", "an unknown type of factors"
    INPUT_TRACER = "input.tracer", "an unknown tracer, or one that is not installed"
    INPUT_OPTIONS = (
        "input.options",
        "options that do not go together, that do not exist, are of another type, or mean nothing "
        "to the method",
    )
    INPUT_DATA = "input.data", "the wrong kind of file"
    INPUT_MODELS = "input.models", "options that belong together"
    INPUT_MISSING_PACKAGE = "input.missing-package", "a package to install"
    INPUT_PAGE = (
        "input.page",
        "the phone page has not been built, or a link leads out of its folder",
    )
    INPUT_ADDRESS = (
        "input.address",
        "`serve` or `api` cannot listen there, a certificate cannot be read, or a `--name` is no "
        "name",
    )
    INPUT_DEVICE = "input.device", "`bench`: no such device"
    INPUT_SCENARIO = "input.scenario", "`bench`: no such scenario"
    INPUT_PIN = "input.pin", "`bench`: processors that are malformed or cannot be used"
    INPUT_SCRATCH = "input.scratch", "`bench`: a folder for copies that cannot be written to"
    # Files to be written
    OUTPUT_EXISTS = "output.exists", "something is there already"
    OUTPUT_UNWRITABLE = "output.unwritable", "the file or folder cannot be written"
    OUTPUT_DISK_FULL = "output.disk-full", "the disk is full"
    OUTPUT_BUSY = "output.busy", "another run is at work on this output"
    OUTPUT_SAME = "output.same", "two outputs of one name, or one that would replace what is read"
    # Reports of a measurement
    REPORT_MISSING = "report.missing", "the file of a report cannot be read"
    REPORT_JSON = "report.json", "the file of a report is not JSON"
    REPORT_SCHEMA = "report.schema", "`schema` is not one that this release reads"
    REPORT_MALFORMED = (
        "report.malformed",
        "a key is missing or has another type; a null figure without its reason; a number or a "
        "verdict that cannot be",
    )
    REPORT_LATENCY = "report.latency", "a time in the report of an emulated machine"
    # Devices that are measured
    DEVICE_UNREACHABLE = (
        "device.unreachable",
        "no such host, nobody listens, or no answer within a minute",
    )
    DEVICE_DENIED = "device.denied", "the device does not accept the user with this key"
    DEVICE_HOST_KEY = (
        "device.host-key",
        "the host's key is not known, or not the known one: log in once by hand",
    )
    DEVICE_PYTHON = "device.python", "no Python there, or one older than 3.11"
    DEVICE_WHEELS = (
        "device.wheels",
        "onnxruntime has no wheel for the device: 32-bit Raspberry Pi OS (armv7l), a C library "
        "other than glibc, another processor; or pip reaches no package index from this machine",
    )
    DEVICE_INSTALLED = (
        "device.installed",
        "`installed` is asked for, and osd-edge is not installed there",
    )
    DEVICE_SPACE = "device.space", "not enough space on the device, or on this machine"
    DEVICE_FOLDER = "device.folder", "the folder on the device cannot be used"
    DEVICE_LOST = (
        "device.lost",
        "the connection broke, or the device fell silent, before the measurement began",
    )
    DEVICE_BROKEN_OFF = (
        "device.broken-off",
        "the run ended half-way, or other than its report says; results so far are kept",
    )
    DEVICE_ANSWER = (
        "device.answer",
        "the device said what no agent of this release says: a line without end, no JSON, facts "
        "of another form. Is it the device that it should be?",
    )
    DEVICE_TOOL = (
        "device.tool",
        "a program that this needs is not installed here; the message names its package",
    )
    DEVICE_MIRROR = "device.mirror", "this system's apt knows no Debian mirror"
    DEVICE_BUILD = "device.build", "a package or a wheel could not be had or unpacked"
    DEVICE_EMULATOR = "device.emulator", "the machine did not start"
    DEVICE_UNUSABLE = (
        "device.unusable",
        "`doctor`: numpy or onnxruntime is missing or broken here, or does not answer as recorded",
    )
    DEVICE_TIMEOUT = "device.timeout", "a program did not end in its time"
    DEVICE_NOT_REACHED = "device.not-reached", "the run was broken off before it"
    DEVICE_WITHHELD = "device.withheld", "it gives only times, and they are withheld"
    DEVICE_KILLED = "device.killed", "a process of the device was killed (often: out of memory)"
    DEVICE_SIGNAL = "device.signal", "a process of the device was ended by another signal"
    DEVICE_MEMORY = "device.memory", "a process of the device ran out of memory"
    DEVICE_PROCESS = "device.process", "a process of the device could not be started, or failed"
    DEVICE_NO_ADAPTER = "device.no-adapter", "this onnxruntime has no LoraAdapter"
    DEVICE_SCRATCH = "device.scratch", "the folder for copies of models is made of memory"
