"""`osd-edge completion`: the script by which a shell completes what is typed."""

import click
from click.shell_completion import ShellComplete, get_completion_class

from osd_edge.cli.options import COMPLETION_VARIABLE, example


@click.command(
    epilog=example(
        "osd-edge completion bash >> ~/.bashrc",
        "osd-edge completion zsh >> ~/.zshrc",
        "osd-edge completion fish > ~/.config/fish/completions/osd-edge.fish",
    )
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print the script with which SHELL completes commands, options, choices and files.

    Add it to what the shell reads when it starts, as below, and open a new one. In zsh, `autoload
    -U compinit; compinit` has to stand before it.
    """
    complete = get_completion_class(shell)
    assert complete is not None  # click has all three
    root = click.get_current_context().find_root().command
    # The class's own way asks the shell for its version first, which may not be installed here.
    click.echo(ShellComplete.source(complete(root, {}, "osd-edge", COMPLETION_VARIABLE)))
