"""The plan of a measurement, its options with their bounds, and the scenarios there are.

Standard library only: the report's rules and every command line are made from it.
"""

from osd_edge.device_tests.plan.options import Option, processor_list, scenario_list
from osd_edge.device_tests.plan.plan import OPTIONS, SEED, Plan, check_plan, plan_of
from osd_edge.device_tests.plan.scenarios import BY_ID, SCENARIOS, ScenarioInfo

__all__ = [
    "BY_ID",
    "OPTIONS",
    "SCENARIOS",
    "SEED",
    "Option",
    "Plan",
    "ScenarioInfo",
    "check_plan",
    "plan_of",
    "processor_list",
    "scenario_list",
]
