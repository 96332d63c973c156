"""The scenarios that a plan can name, in the order in which they are run.

Each is a module in `scenarios/`, named by its id with `_` for `-`.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ScenarioInfo:
    """A scenario's name and how it is played.

    `repeated` ones are played several times, and their figures become spreads. `times_only` ones
    have nothing to tell where times are withheld. Those that are `writing` need a base that writes
    text: over another they are left out unless they are asked for.
    """

    id: str
    title: str
    role: Literal["osd-edge", "today"] = "osd-edge"
    repeated: bool = False
    times_only: bool = False
    writing: bool = False


SCENARIOS = (
    ScenarioInfo("imports", "importing the runtime", repeated=True),
    ScenarioInfo("start", "cold start: process, session, first run", repeated=True),
    ScenarioInfo("base", "no task, beside the plain graph"),
    ScenarioInfo("task", "one task active"),
    ScenarioInfo("tasks", "many tasks over one base"),
    ScenarioInfo("swap", "a swap, cold from its file and warm", times_only=True),
    ScenarioInfo("swap-every-request", "another task at every request", times_only=True),
    ScenarioInfo("threads", "more threads, more callers"),
    ScenarioInfo("mixed-batch", "a task for each row of a batch"),
    ScenarioInfo("memory-low", "one task, memory=low"),
    ScenarioInfo("generate", "writing text: first token, tokens a second", writing=True),
    ScenarioInfo("generate-batch", "writing by a task for each row of a batch", writing=True),
    ScenarioInfo("generate-tasks", "many tasks that write, loaded", writing=True),
    ScenarioInfo("soak", "swapping for long"),
    ScenarioInfo("lora-adapter", "onnxruntime's LoraAdapter, same factors", role="today"),
    ScenarioInfo("session-per-task", "a session per task over one file", role="today"),
    ScenarioInfo("models", "a fine-tuned model per task, side by side", role="today"),
    ScenarioInfo("rebuild", "one model at a time, opened anew for each task", role="today"),
)
BY_ID = {scenario.id: scenario for scenario in SCENARIOS}
