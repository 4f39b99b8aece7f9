"""Completion scripts for bash, zsh and fish, made of the tables of options: `tcpmesh completion
bash`.

They are texts that hold all words, so that nothing of Python runs at a press of the tab key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tcpmesh.facts import dataclass


@dataclass(frozen=True)
class Option:
    """One option, of the commands that are named."""

    name: str
    letter: str
    help: str
    takes_value: bool = False
    choices: tuple[str, ...] = ()
    completes: str = ""
    """`file`, `user` or `group`."""

    @property
    def written(self) -> list[str]:
        """How it may be written."""
        return [*([f"-{self.letter}"] if self.letter else []), f"--{self.name}"]


RUNS = "run"
"""The command that a command line without one stands for."""

Commands = Mapping[str, tuple[str, Sequence[Option], tuple[str, ...]]]
"""By name: what each does, its options, and the words it takes; none for a file."""


def bash(commands: Commands) -> str:
    """The script for bash."""
    return _BASH.format(
        runs=RUNS,
        commands=" ".join(commands),
        values="\n".join(_bash_values(commands)),
        options="\n".join(
            f"        {name}) words={_quoted(' '.join(_written(options)))};"
            f" plain={_quoted(' '.join(words))} ;;"
            for name, (_, options, words) in commands.items()
        ),
    )


def zsh(commands: Commands) -> str:
    """The script for zsh."""
    return _ZSH.format(
        runs=RUNS,
        commands=" ".join(
            _quoted(f"{name}:{about.replace(':', ' ')}") for name, (about, *_) in commands.items()
        ),
        options="\n".join(
            " \\\n            ".join(
                [
                    f"        {name}) _arguments",
                    *(_zsh_option(option) for option in options),
                    f"'1: :({' '.join(words)})' ;;" if words else "'*:file:_files' ;;",
                ]
            )
            for name, (_, options, words) in commands.items()
        ),
    )


def fish(commands: Commands) -> str:
    """The script for fish."""
    lines = [
        f"complete -c tcpmesh -n __fish_use_subcommand -f -a {name} -d {_quoted(about)}"
        for name, (about, *_) in commands.items()
    ]
    for name, (_, options, words) in commands.items():
        seen = f"__fish_seen_subcommand_from {name}"
        if name == RUNS:
            # A command line without a command is one of it too.
            others = " ".join(other for other in commands if other != name)
            seen = f"not __fish_seen_subcommand_from {others}"
        here = f"complete -c tcpmesh -n '{seen}'"
        lines += [f"{here} {_fish_option(option)}" for option in options]
        if words:
            lines.append(f"{here} -f -a {_quoted(' '.join(words))}")
    return "\n".join(["# Completion of tcpmesh for fish.", *lines]) + "\n"


SHELLS: Mapping[str, Callable[[Commands], str]] = {"bash": bash, "zsh": zsh, "fish": fish}


def _written(options: Sequence[Option]) -> list[str]:
    return [written for option in options for written in option.written]


def _quoted(text: str) -> str:
    """A word that none of the shells looks into."""
    return "'" + text.replace("'", "") + "'"


def _bash_values(commands: Commands) -> list[str]:
    """What completes the values of options: an option is one thing in all commands."""
    options = {option.name: option for _, all, _ in commands.values() for option in all}
    lines, plain = [], []
    for option in options.values():
        names = "|".join(option.written)
        if option.choices:
            words = _quoted(" ".join(option.choices))
            lines.append(f'        {names}) COMPREPLY=($(compgen -W {words} -- "$cur")); return ;;')
        elif option.completes in ("user", "group"):
            kind = option.completes[0]
            lines.append(f'        {names}) COMPREPLY=($(compgen -{kind} -- "$cur")); return ;;')
        elif option.takes_value:
            plain.append(names)
    # Of the others we know nothing, and bash goes on with the names of files.
    return [*lines, f"        {'|'.join(plain)}) return ;;"]


def _zsh_option(option: Option) -> str:
    text = option.help.translate({ord("["): "(", ord("]"): ")", ord(":"): " "})
    value = ""
    if option.takes_value:
        action = {"file": "_files", "user": "_users", "group": "_groups"}.get(option.completes, "")
        value = (
            f":{option.name}:{f'({chr(32).join(option.choices)})' if option.choices else action}"
        )
    both = f"({' '.join(option.written)})"
    equals = "=" if option.takes_value else ""
    names = [f"--{option.name}{equals}", *([f"-{option.letter}"] if option.letter else [])]
    return " ".join(_quoted(f"{both}{name}[{text}]{value}") for name in names)


def _fish_option(option: Option) -> str:
    words = [f"-l {option.name}", *([f"-s {option.letter}"] if option.letter else [])]
    if option.choices:
        words.append(f"-x -a {_quoted(' '.join(option.choices))}")
    elif option.completes in ("user", "group"):
        words.append(f"-x -a '(__fish_complete_{option.completes}s)'")
    elif option.completes == "file":
        words.append("-r -F")
    elif option.takes_value:
        words.append("-x")
    return " ".join([*words, f"-d {_quoted(option.help)}"])


_BASH = """\
# Completion of tcpmesh for bash.
_tcpmesh() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} words= plain=
    # Bash takes --name=value for three words.
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    if (( COMP_CWORD == 1 )) && [[ $cur != -* ]]; then
        COMPREPLY=($(compgen -W '{commands}' -- "$cur"))
        return
    fi
    case $prev in
{values}
    esac
    local command=${{COMP_WORDS[1]}}
    [[ $command == -* ]] && command={runs}
    case $command in
{options}
    esac
    [[ $cur == -* ]] || words=$plain
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o bashdefault -o default -F _tcpmesh tcpmesh
"""

_ZSH = """\
#compdef tcpmesh
# Completion of tcpmesh for zsh.
_tcpmesh() {{
    local -a commands=({commands})
    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
        _describe command commands
        return
    fi
    local command=$words[2]
    if [[ $command == -* ]]; then
        command={runs}
    else
        shift words
        (( CURRENT-- ))
    fi
    case $command in
{options}
    esac
}}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _tcpmesh "$@"
else
    compdef _tcpmesh tcpmesh
fi
"""
