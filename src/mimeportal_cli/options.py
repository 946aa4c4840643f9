"""What every command line has in common: groups, commands, global options, and options bound into one object.

Only click is imported at the top: `--help` and `--version` come through here.
"""

from __future__ import annotations

import functools
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from click.shell_completion import CompletionItem

    from mimeportal.account.contract import WhoAmIRow
    from mimeportal_cli.console import Console

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Settings:
    """What the global options say, for one run of a command."""

    def __init__(self) -> None:
        self.profile: str | None = None
        self.url: str | None = None
        self.verbose = False
        self.debug = False
        self.quiet = False
        self.timeout: float | None = None
        self.no_color = False
        self.no_input = False
        self.output: str | None = None  # the format that the profile prefers, once it is known
        self.tz: str | None = None  # the time zone of the profile, likewise
        self.preferred: WhoAmIRow | None = None  # how whoever asks wants times shown, once the portal told it
        self.command = ""  # as typed, for hints such as "See `mimeportal holds list --help`"
        self._console: Console | None = None

    @property
    def console(self) -> Console:
        """The streams, made at first use: by then the options have been read."""
        if self._console is None:
            from mimeportal_cli.console import Console

            self._console = Console(self)
        return self._console


def settings() -> Settings:
    """The settings of the running command."""
    return click.get_current_context().ensure_object(Settings)


class Option(click.Option):
    """An option that help shows under a section of its own."""

    def __init__(self, *args: Any, section: str = "Options", **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.section = section


def option(*names: str, section: str = "Options", **attributes: Any) -> Callable[[_F], _F]:
    """As `click.option`, in a section of the help."""
    return click.option(*names, cls=Option, section=section, **attributes)


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    # Given before the command and again after it, the later one counts; not given, it changes nothing.
    if parameter.name and value not in (None, False):
        setattr(context.ensure_object(Settings), parameter.name, value)


def _profile_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from mimeportal import profiles
    from mimeportal.errors import MimeportalError

    try:
        names = [profile.name for profile in profiles.Store.open().all()]
    except MimeportalError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _global(*names: str, **attributes: Any) -> Option:
    return Option(names, section="Global options", expose_value=False, callback=_remember, **attributes)


_WHERE = [
    _global("-P", "--profile", metavar="NAME", shell_complete=_profile_names, help="Use this profile."),
    _global("--url", metavar="URL", help="Use this portal: local:DIR; to log in, https://HOST too."),
]
_HOW = [
    _global("-v", "--verbose", is_flag=True, help="Say more."),
    _global("--debug", is_flag=True, help="Show where a failure arose; secrets are removed."),
    _global("-q", "--quiet", is_flag=True, help="Say nothing on stderr but questions and problems."),
    _global("--no-color", is_flag=True, help="No colours (also: NO_COLOR=1)."),
    _global("--no-input", is_flag=True, help="Never ask; what would ask is refused."),
]
_TIMEOUT = [
    _global(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Wait this long for a portal that is busy.",
    ),
]


class ClosedPipe(Exception):
    """Whoever reads our output has seen enough. Click would end with 1 for the error that Python raises."""


class _Shared(click.Command):
    """Global options are accepted at every level, and shown after the command's own."""

    reaches_portal = True

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        shared = [*_WHERE, *_HOW, *_TIMEOUT] if self.reaches_portal else _HOW
        return [*super().get_params(ctx), *shared]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None or isinstance(parameter, click.Argument):
                continue
            general = "Global options" if parameter is self.get_help_option(ctx) else "Options"
            sections.setdefault(getattr(parameter, "section", general), []).append(record)
        last = sections.pop("Global options", [])
        for title, records in [*sections.items(), ("Global options", last)]:
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError as fault:
            raise ClosedPipe from fault

    def invoke(self, ctx: click.Context) -> Any:
        ctx.ensure_object(Settings).command = ctx.command_path
        try:
            return super().invoke(ctx)
        except BrokenPipeError as fault:
            raise ClosedPipe from fault


class Command(_Shared, click.Command):
    """A command that takes the global options too."""


class LocalCommand(Command):
    """A command that reaches no portal, and takes no option that says which."""

    reaches_portal = False


class Group(_Shared, click.Group):
    """A group of commands that take the global options too."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **attributes: Any) -> None:
        attributes.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **attributes)


class LazyGroup(Group):
    """A group whose commands are imported when they are run: help shows the short help kept in the table."""

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        return cast("click.Command", getattr(import_module(module), attribute))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[1]) for name, entry in self.table.items()])


_F = TypeVar("_F", bound="Callable[..., Any]")


def bundle(
    parameter: str, make: Callable[..., Any], options: Sequence[Callable[[Any], Any]], names: Sequence[str]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that adds options and passes them on as one object: `make(**values)` as `parameter`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(**values: Any) -> Any:
            own = {name: values.pop(name) for name in names}
            return function(**{parameter: make(**own)}, **values)

        decorated: Any = wrapped
        for add in reversed(options):
            decorated = add(decorated)
        return cast("Callable[..., Any]", decorated)

    return decorate
