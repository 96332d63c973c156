"""`osd-edge doctor`: what is installed, what is missing, and what this machine can do."""

import click

from osd_edge.cli.options import example, json_option
from osd_edge.cli.output import print_json


@click.command(epilog=example("osd-edge doctor", "osd-edge doctor --json"))
@json_option
def doctor(as_json: bool) -> None:
    """Tell what is installed, what each command lacks, and what this machine can do.

    Plain text to paste into a bug report: it names neither you nor your folders. Exit code 1 where
    tasks cannot run here: numpy or onnxruntime is broken, or answers are not as recorded.
    """
    from osd_edge.device_tests.doctor.diagnosis import diagnose
    from osd_edge.device_tests.doctor.names import without_names
    from osd_edge.device_tests.doctor.words import describe
    from osd_edge.errors import Code, DeviceError

    diagnosis = diagnose()
    if as_json:
        print_json(diagnosis.as_dict())
    else:
        click.echo(describe(diagnosis))
    failure = diagnosis.failure
    if failure is not None:
        words = without_names(failure.words)
        raise DeviceError(Code.DEVICE_UNUSABLE, f"{failure.name} does not work here: {words}")
