"""The console script `tcpmesh`, for who knows neither twistd nor where its options go.

`tcpmesh run`, `validate` and `explain` are `twistd tcpmesh` with its own options (`tcpmesh.tap`),
in the foreground; so is a command line without a command, which is Envoy's: `tcpmesh -c
envoy.yaml`.  Who wants the process detached, or in a `chroot`, takes twistd.
"""

from __future__ import annotations

import grp
import os
import pwd
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar, NoReturn

from twisted.plugins.tcpmesh_plugin import serviceMaker
from twisted.python import usage
from twisted.scripts import twistd

from tcpmesh.cli_completion import SHELLS, Commands, Option
from tcpmesh.cli_migrate import HELP as MIGRATE_HELP
from tcpmesh.cli_migrate import MigrateOptions, migrate_file
from tcpmesh.facts import dataclass
from tcpmesh.tap import INTERRUPTED, Options
from tcpmesh.tap_help import CONFIGURATION, NODE
from tcpmesh.tap_options import CHOICES, FILES, version_line
from tcpmesh.tap_output import refuse, tell
from tcpmesh.terminal.commands import CONNECTIONS_HELP, TOP_HELP, connections, top
from tcpmesh.terminal.gathering import VIEWS
from tcpmesh.terminal.options import ConnectionsOptions, TopOptions
from tcpmesh.terminal.reload import RELOAD_HELP, ReloadOptions, reload
from tcpmesh.terminal.upgrade import UPGRADE_HELP, UpgradeOptions, upgrade

HELP = """\
Usage: tcpmesh COMMAND [options] [FILE]

A TCP (L4) proxy that runs an unmodified Envoy v3 bootstrap.

Commands:
{commands}

`tcpmesh COMMAND --help` tells of a command's options.  Envoy's own command line
works too: `tcpmesh -c envoy.yaml --log-level debug` is `tcpmesh run` with these.

For example:
  tcpmesh validate envoy.yaml          is it right, and would it start?
  tcpmesh explain envoy.yaml           what will happen to a connection, and why?
  tcpmesh run envoy.yaml               serve it until Ctrl-C

Exit status: 0; 1 where the command line or the configuration is wrong, or it
cannot be served; 130 where Ctrl-C ends it before it serves.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line, by default that of this process; most end it."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or [""]
    try:
        if not name:
            refuse(_overview())
        elif name in ("-h", "--help"):
            tell(_overview())
        elif name == "--version":
            tell(version_line())
        elif name.startswith("-"):
            _run([name, *rest], "tcpmesh")
        elif name in COMMANDS:
            _command(COMMANDS[name], rest)
        else:
            _unknown(name)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


class CommandOptions(Options):
    """Options of a command, which takes a file where others say --config-path."""

    synopsis = "[options] [FILE]"
    wants = "a FILE"

    def __init__(self, command: str) -> None:
        super().__init__()
        self.command = command

    def parseArgs(self, *files: str) -> None:
        """The file.

        :raise usage.UsageError: where there are several.
        """
        named = [self["config-path"]] if self["config-path"] else []
        if len(named) + len(files) > 1:
            both = " and ".join([*named, *files])
            raise usage.UsageError(f"there can be one file, not {both}")
        if files:
            self["config-path"] = files[0]


MOST_IDS = 0xFFFFFFFE
"""The largest number that a user or a group can have."""


def _user(text: str) -> int:
    try:
        return _number(text) if text.isdecimal() else pwd.getpwnam(text).pw_uid
    except KeyError:
        raise usage.UsageError(f"--uid: there is no user '{text}'") from None


def _group(text: str) -> int:
    try:
        return _number(text) if text.isdecimal() else grp.getgrnam(text).gr_gid
    except KeyError:
        raise usage.UsageError(f"--gid: there is no group '{text}'") from None


def _number(text: str) -> int:
    if int(text) > MOST_IDS:
        raise KeyError(text)
    return int(text)


class RunOptions(CommandOptions):
    """Options of `tcpmesh run`, with those of twistd's that make sense in the foreground."""

    optParameters: ClassVar[Any] = [
        ["uid", None, None, "User to become once all addresses are bound.", _user],
        ["gid", None, None, "Group to become; by default that of the user.", _group],
    ]

    longdesc = """
    Serve an Envoy v3 bootstrap as a TCP (L4) proxy, in the foreground, until Ctrl-C or SIGTERM.

      tcpmesh run envoy.yaml
      tcpmesh run --uid nobody --log-level warning --config-path envoy.yaml
    """

    def postOptions(self) -> None:
        """As for twistd, which gets the user and the group."""
        twistd_options: Any = self.parent
        for name in ("uid", "gid"):
            twistd_options[name] = self[name]
        super().postOptions()


class JudgeOptions(CommandOptions):
    """Options of a command that serves nothing."""

    shown = (CONFIGURATION, NODE)
    hidden = ("mode",)

    def __init__(self, mode: str, about: str) -> None:
        super().__init__(f"tcpmesh {mode}")
        self.longdesc = about
        self._mode = mode

    def postOptions(self) -> None:
        """Judge.

        :raise usage.UsageError: where another mode is asked for.
        """
        if "mode" in self._given:
            raise usage.UsageError("--mode is for tcpmesh run")
        self["mode"] = self._mode
        super().postOptions()


class Foreground(twistd.ServerOptions):  # type: ignore[misc, name-defined]
    """twistd's own options, for the one service that there is: no other plugin is looked for."""

    subCommands: Any = ()
    loadedPlugins: ClassVar[Any] = {"tcpmesh": serviceMaker}

    def __init__(self, command: str) -> None:
        super().__init__()
        self.subCommands = [["tcpmesh", None, lambda: RunOptions(command), ""]]


def _run(arguments: Sequence[str], command: str = "tcpmesh run") -> None:
    options = Foreground(command)
    options.parseOptions(["--nodaemon", "--pidfile=", "tcpmesh", *arguments])
    twistd.runApp(options)


def _judge(mode: str, about: str) -> Callable[[Sequence[str]], None]:
    def judge(arguments: Sequence[str]) -> None:
        options = JudgeOptions(mode, about)
        try:
            options.parseOptions(arguments)
        except usage.UsageError as e:
            _wrong(options.command, e)

    return judge


def _version(arguments: Sequence[str]) -> None:
    _takes_none("version", arguments)
    tell(version_line())


def _help(arguments: Sequence[str]) -> None:
    if not arguments:
        tell(_overview())
    elif arguments[0] in COMMANDS:
        _command(COMMANDS[arguments[0]], ["--help"])
    else:
        _unknown(arguments[0])


def _overview() -> str:
    lines = [f"  {name:<12}{command.about}" for name, command in COMMANDS.items()]
    return HELP.format(commands="\n".join(lines)).rstrip()


def _completion(arguments: Sequence[str]) -> None:
    shells = ", ".join(SHELLS)
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        _wrong("tcpmesh completion", f"name a shell: {shells}")
    tell(SHELLS[arguments[0]](_commands()).rstrip())


_VERSION_HELP = """\
Usage: tcpmesh version

Print in one line what this is, and the version of Envoy whose API it speaks."""

_HELP_HELP = """\
Usage: tcpmesh help [COMMAND]

Print what commands there are, or what the options of one are."""

_COMPLETION_HELP = """\
Usage: tcpmesh completion SHELL

Print the script that completes commands, options and their values at a press of
the tab key.  SHELL is bash, zsh or fish.

  tcpmesh completion bash > /etc/bash_completion.d/tcpmesh
  tcpmesh completion zsh > /usr/local/share/zsh/site-functions/_tcpmesh
  tcpmesh completion fish > ~/.config/fish/completions/tcpmesh.fish"""


def _commands() -> Commands:
    """All commands as a completion script sees them."""
    parameters = [*Options.optParameters, *RunOptions.optParameters]
    run = [_option(row[0], row[1], row[3], True) for row in parameters]
    flags = [*Options.optFlags, ["help", "h", "This text."]]
    run += [_option(row[0], row[1], row[2], False) for row in flags]
    judge = [option for option in run if option.name not in (*JudgeOptions.hidden, "uid", "gid")]
    own = {
        "run": run,
        "validate": judge,
        "explain": judge,
        "migrate": _options_of(MigrateOptions()),
        "top": _options_of(TopOptions()),
        "connections": _options_of(ConnectionsOptions()),
        "reload": _options_of(ReloadOptions()),
        "upgrade": _options_of(UpgradeOptions()),
    }
    words = {"completion": tuple(SHELLS), "help": tuple(COMMANDS)}
    return {
        name: (command.about, own.get(name, ()), words.get(name, ()))
        for name, command in COMMANDS.items()
    }


def _options_of(options: usage.Options) -> list[Option]:
    """Those of a command that is no twistd."""
    rows = [row for cls in type(options).__mro__ for row in vars(cls).get("optParameters", ())]
    found = [_option(row[0], row[1], row[3], True) for row in rows]
    flags = [row for cls in type(options).__mro__ for row in vars(cls).get("optFlags", ())]
    return found + [_option(row[0], row[1], row[2], False) for row in flags]


def _option(name: str, letter: str | None, text: str, takes_value: bool) -> Option:
    kind = {"uid": "user", "gid": "group"}.get(name, "file" if name in (*FILES, "config") else "")
    choices = VIEWS if name == "view" else CHOICES.get(name, ())
    return Option(name, letter or "", text, takes_value, choices, kind)


def _takes_none(command: str, arguments: Sequence[str]) -> None:
    if arguments:
        _wrong(f"tcpmesh {command}", f"it takes no arguments: '{arguments[0]}'")


def _unknown(name: str) -> NoReturn:
    near = get_close_matches(name, COMMANDS, 1)
    if os.path.exists(name):
        hint = f"did you mean: tcpmesh run {name}"
    elif near:
        hint = f"did you mean {near[0]}?"
    else:
        hint = f"there are {', '.join(COMMANDS)}"
    refuse(f"tcpmesh: there is no command '{name}'; {hint}")


def _wrong(command: str, reason: object) -> NoReturn:
    refuse(f"{command}: {reason} (--help tells more)")


@dataclass(frozen=True)
class Command:
    """What a first word stands for."""

    about: str
    run: Callable[[Sequence[str]], None]
    help: str = ""
    """What `--help` prints, where `run` does not."""


def _command(command: Command, arguments: Sequence[str]) -> None:
    if command.help and arguments and arguments[0] in ("-h", "--help"):
        tell(command.help)
    else:
        command.run(arguments)


_VALIDATE = """
Say whether a configuration is right and would start, with the place of all that is not.  Nothing is
bound and nobody is connected to.  Envoy's other options are taken too.
"""

_EXPLAIN = """
Say what a configuration comes to: each setting that counts, what it does to a connection, and the
line that says so, or that it is Envoy's default.  Envoy's other options are taken too.
"""

COMMANDS: Mapping[str, Command] = {
    "run": Command("serve a configuration, in the foreground", _run),
    "validate": Command("say whether a configuration is right", _judge("validate", _VALIDATE)),
    "explain": Command("say what a configuration comes to", _judge("explain", _EXPLAIN)),
    "migrate": Command("bring an old configuration to the v3 API", migrate_file, MIGRATE_HELP),
    "top": Command("show what a running proxy does, live", top, TOP_HELP),
    "connections": Command("print who is connected to what", connections, CONNECTIONS_HELP),
    "reload": Command("have a running proxy read its file again", reload, RELOAD_HELP),
    "upgrade": Command("replace a running proxy by what is installed", upgrade, UPGRADE_HELP),
    "completion": Command("print the completion script of a shell", _completion, _COMPLETION_HELP),
    "version": Command("say what this is", _version, _VERSION_HELP),
    "help": Command("this text, or that of a command", _help, _HELP_HELP),
}
