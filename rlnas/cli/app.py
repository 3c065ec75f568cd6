"""The entry point: runs a command and turns errors into one sentence and an exit code."""

import sys
from collections.abc import Sequence

import click

from rlnas.cli import commands
from rlnas.errors import InterruptedRunError, RlnasError

_INTERRUPTED = 130


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Begin with: rlnas search. Each command explains itself with --help.",
)
@click.version_option(package_name="rlnas", message="rlnas %(version)s")
def app() -> None:
    """Find a Keras architecture for your data by reinforcement learning.

    An RNN controller writes networks layer by layer, each is trained briefly, and its
    validation accuracy is what the controller learns from. The best are retrained
    longer and leave as plain Keras JSON.
    """


for command in commands.COMMANDS:
    app.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done, 1 failed, 2 wrong usage or config, 3 no valid child found, 130 interrupted
    after saving.

    Args:
        arguments: The words after ``rlnas``; None for those of this process.
    """
    try:
        words = None if arguments is None else list(arguments)
        code = app.main(words, prog_name="rlnas", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except InterruptedRunError as error:
        click.echo(str(error), err=True)
        return error.exit_code
    except RlnasError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped before anything was begun", err=True)
        return _INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe went away; say nothing more
        return 0
