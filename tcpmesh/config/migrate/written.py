"""A text as a tree that remembers how it is written, so that changing an entry leaves the rest as
it is: comments, order, quotes, indentation.

The nodes of `config/text` know what a text says; these know the text itself.  Each value keeps its
own piece of it, and each entry what stands before it: the comma, the dash, the comments and the
line breaks.  A tree that nobody changes is written as it was read, byte for byte.  What is put
into another place is moved sideways by as many columns as its new place is away, and what is new
takes the style of the place where it is put: block or flow, a JSON text stays JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import field

from tcpmesh.facts import dataclass

#: What `text` of a value that is to be quoted must match to stand without quotes.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*\Z")

_NO_STRINGS = frozenset(("true", "false", "yes", "no", "on", "off", "y", "n", "null"))

_COMMENT = re.compile(r"#[^\r\n]*")


@dataclass(eq=False)
class Scalar:
    """A string, a number, a boolean, null or an alias, as it is written; `column` is that of the
    entry that it was read in, `None` for a new one.
    """

    text: str
    value: str | int | float | bool | None
    column: int | None = None
    is_alias: bool = False


@dataclass(eq=False)
class Entry:
    """A value of a mapping, with its key, or of a list.

    `before` is what stands between it and the entry before, `between` what stands between the key
    and the value; both are `None` where that is new.  `remark` is a comment that stood there,
    `above` are comments of what is gone, for lines of their own.
    """

    key: Scalar | None
    value: Written
    before: str | None = None
    between: str | None = None
    column: int | None = None
    line: int = 0
    remark: str = ""
    above: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The key as a string."""
        return str(self.key.value) if self.key is not None else ""

    def put(self, value: Written) -> None:
        """Have another value; comments that stand before the old one are kept."""
        first, *rest = (self.between or "").split("\n")
        found = _COMMENT.findall(first)
        others = [text for line in rest for text in _COMMENT.findall(line)]
        if isinstance(value, Group) and value.opening and not value.is_flow:
            others, found = found + others, []
        self.remark = found[0] if found else self.remark
        below = value.entries[0] if isinstance(value, Group) and value.entries else self
        below.above = others + below.above
        self.between = None
        self.value = value


@dataclass(eq=False)
class Group:
    """A mapping or list.  `is_flow` is `None` where it is new: it is then written as what is around
    it; `opening` and `tail` are what stands before the first and after the last entry.
    """

    is_mapping: bool
    entries: list[Entry] = field(default_factory=list)
    is_flow: bool | None = None
    column: int | None = None
    opening: str = ""
    tail: str = ""
    line: int = 0

    def copy(self) -> Group:
        """The same values without comments, to be written elsewhere."""
        copied = Group(self.is_mapping)
        for each in self.entries:
            value = each.value.copy() if isinstance(each.value, Group) else each.value
            copied.entries.append(Entry(each.key, value, line=each.line))
        return copied

    def get(self, name: str) -> Entry | None:
        """The entry of a key, in either spelling; of several the last, which is the one that
        counts.
        """
        if not self.is_mapping:
            return None
        return next((e for e in reversed(self.entries) if snake_case(e.name) == name), None)

    def remove(self, entry: Entry, pad: Callable[[int], str]) -> None:
        """Take an entry out; comments at it stay, in lines of their own."""
        at = next(i for i, each in enumerate(self.entries) if each is entry)
        del self.entries[at]
        of_previous, _, rest = (entry.before or "").partition("\n")
        is_block = not self.is_flow and at > 0
        comments = [*(_COMMENT.findall(rest if is_block else entry.before or "")), *entry.above]
        comments += _COMMENT.findall(entry.between or "") + list(comments_in(entry.value))
        comments += [entry.remark] if entry.remark else []
        if at == len(self.entries):
            kept = of_previous if is_block and "#" in of_previous else ""
            self.tail = kept + "".join(pad(entry.column or 0) + c for c in comments) + self.tail
            return
        following = self.entries[at]
        own, line_break, rest = (following.before or "").partition("\n")
        comments += _COMMENT.findall(own)
        if is_block and line_break:
            following.before = (of_previous if "#" in of_previous else "") + line_break + rest
        else:
            comments += _COMMENT.findall(rest)
            following.before = None if "#" in (entry.before or "") else entry.before
        following.above = comments + following.above


def comments_in(part: Written) -> Iterator[str]:
    """The comments inside of a value, in order."""
    if isinstance(part, Scalar):
        return
    yield from _COMMENT.findall(part.opening)
    for each in part.entries:
        yield from comments_at(each)
    yield from _COMMENT.findall(part.tail)


def comments_at(each: Entry) -> Iterator[str]:
    """The comments at an entry and inside of its value."""
    yield from _COMMENT.findall(each.before or "")
    yield from each.above
    yield from _COMMENT.findall(each.between or "")
    if each.remark:
        yield each.remark
    yield from comments_in(each.value)


Written = Scalar | Group


def snake_case(name: str) -> str:
    """The name of a field in the schema's spelling."""
    if name.islower() or not name[:1].islower():
        return name
    return re.sub(r"[A-Z]", lambda found: "_" + found[0].lower(), name)


def mapping(*entries: Entry) -> Group:
    """A new mapping of these entries."""
    return Group(True, list(entries))


def sequence(*values: Written) -> Group:
    """A new list of these values."""
    return Group(False, [Entry(None, value) for value in values])


def entry(name: str, value: Written | str | bool | int) -> Entry:
    """A new entry of a mapping."""
    plain = scalar(value) if isinstance(value, (str, bool, int)) else value
    return Entry(scalar(name), plain)


def scalar(value: str | bool | int) -> Scalar:
    """A new scalar; how it is quoted is decided where it is written."""
    return Scalar("", value)


def scalars_of(part: Written) -> Iterator[Entry]:
    """The scalars of a list, or the one that stands for a list of one; each in its entry."""
    if isinstance(part, Scalar):
        yield Entry(None, part)
    elif not part.is_mapping:
        yield from (each for each in part.entries if isinstance(each.value, Scalar))


@dataclass(frozen=True)
class Style:
    """How a text is laid out: JSON or YAML, its indentation, its line breaks.

    `dash` is how much further right than its key a list begins, `is_lined` whether a JSON text has
    more than one line, `is_camel` whether fields are spelt in lowerCamelCase.
    """

    is_json: bool = False
    step: int = 2
    dash: int = 0
    unit: str = " "
    line_break: str = "\n"
    is_lined: bool = True
    is_camel: bool = False

    def pad(self, column: int) -> str:
        """A new line, up to a column."""
        return self.line_break + self.unit * max(0, column)

    def shifted(self, text: str, by: int) -> str:
        """A text with every line but the first moved right, or left where `by` is negative."""
        if not by or "\n" not in text:
            return text
        if by > 0:
            return re.sub(r"\n(?=[^\r\n])", "\n" + self.unit * by, text)
        return re.sub(rf"\n[ \t]{{1,{-by}}}", "\n", text)

    # ------------------------------------------------------------ values

    def write(self, part: Written, column: int, in_flow: bool = False) -> str:
        """The text of a value whose first character is written already at this column (a value in
        flow style: in an entry that begins at this column).
        """
        if isinstance(part, Scalar):
            return self._scalar(part, column)
        is_flow = in_flow or self.is_json if part.is_flow is None else part.is_flow
        if not part.entries and not is_flow and not part.tail:
            return part.opening + ("{}" if part.is_mapping else "[]")
        return self._flow(part, column) if is_flow else self._block(part, column)

    def _scalar(self, part: Scalar, column: int) -> str:
        if part.column is not None:
            return self.shifted(part.text, column - part.column)
        return part.text or self.plain(part.value)

    def plain(self, value: object) -> str:
        """The text of a new scalar."""
        if isinstance(value, bool):
            return "true" if value else "false"
        text = str(value)
        if not isinstance(value, str):
            return text
        if not self.is_json and _PLAIN.match(text) and text.lower() not in _NO_STRINGS:
            return text
        return quoted(text)

    # ------------------------------------------------------------ block style

    def _block(self, group: Group, column: int) -> str:
        by = 0 if group.column is None else column - group.column
        parts = [self.shifted(group.opening, by)]
        for index, each in enumerate(group.entries):
            parts.append(self._block_gap(each, index, column, group))
            if group.is_mapping:
                parts.append(self._pair(each, column))
            else:
                last = parts[-1].rpartition("\n")
                at = len(last[2]) + (0 if last[1] else column)
                parts.append(self.write(each.value, at))
        if not group.entries:
            parts.append("{}" if group.is_mapping else "[]")
        parts.append(self.shifted(group.tail, by))
        return "".join(parts)

    def _block_gap(self, each: Entry, index: int, column: int, group: Group) -> str:
        """What stands before an entry, with its dash if it has one."""
        dash = "" if group.is_mapping else "- "
        by = 0 if each.column is None else column - each.column
        gap = None if each.before is None else self.shifted(each.before, by)
        lines = "".join(text + self.pad(column) for text in each.above)
        if index == 0:
            if gap is None or "\n" in gap:
                comments = _COMMENT.findall(gap or "")
                return "".join(text + self.pad(column) for text in comments) + lines + dash
            return lines + gap
        if gap is None or "\n" not in gap:
            return self.pad(column) + lines + dash
        end = gap.rindex("\n") + 1
        return (
            gap[:end]
            + (self.unit * column + lines if lines else "")
            + (gap[end:] if not lines else gap[end:].lstrip(" \t"))
        )

    def _pair(self, each: Entry, column: int) -> str:
        """The key and value of an entry of a block mapping."""
        assert each.key is not None
        key = each.key.text or self.plain(each.key.value)
        value = each.value
        if each.between is not None:
            by = 0 if each.column is None else column - each.column
            within = value.column if isinstance(value, Group) and not value.is_flow else each.column
            at = column if within is None else within + by
            # Where nothing was written after the colon, nothing stood before it.
            is_new = isinstance(value, Scalar) and value.column is None
            blank = " " if is_new and each.between.endswith(":") else ""
            return key + self.shifted(each.between, by) + blank + self.write(value, at)
        remark = f"  {each.remark}" if each.remark else ""
        if isinstance(value, Scalar) or value.is_flow or not (value.entries or value.tail):
            return f"{key}: {self.write(value, column)}{remark}"
        further = self.step if value.is_mapping else self.dash
        if value.opening:
            return f"{key}: {self.write(value, column + further)}"
        inner = self.write(value, column + further)
        return f"{key}:{remark}{self.pad(column + further)}{inner}"

    # ------------------------------------------------------------ flow style

    def _flow(self, group: Group, column: int) -> str:
        by = 0 if group.column is None else column - group.column
        is_lined = self._is_lined(group)
        within = self._flow_column(group, column, by, is_lined)
        opening, closing = "{}" if group.is_mapping else "[]"
        parts = [group.opening or opening]
        for index, each in enumerate(group.entries):
            is_own = group.column is not None and each.column is not None
            at = (each.column or 0) + by if is_own else within
            parts.append(self._flow_gap(each, index, at, is_lined))
            parts.append(self._flow_pair(each, at))
        if group.column is None and is_lined and group.entries:
            parts.append(self.pad(column))
        tail = self.shifted(group.tail, by)
        if not group.entries:
            # The comma after what was taken out.
            tail = re.sub(r"\A\s*,", "", tail)
        return "".join(parts) + tail + closing

    def _flow_column(self, group: Group, column: int, by: int, is_lined: bool) -> int:
        """Where a new entry begins, as far as it begins a line."""
        if not is_lined:
            return column
        first = [
            e.column for e in group.entries if e.column is not None and "\n" in (e.before or "")
        ]
        return first[0] + by if first and group.column is not None else column + self.step

    def _is_lined(self, group: Group) -> bool:
        """Whether entries stand in lines of their own."""
        if group.column is None:
            return self.is_json and self.is_lined
        return "\n" in group.tail or any("\n" in (e.before or "") for e in group.entries)

    def _flow_gap(self, each: Entry, index: int, column: int, is_lined: bool) -> str:
        by = 0 if each.column is None else column - each.column
        gap = None if each.before is None else self.shifted(each.before, by)
        lines = "".join(self.pad(column) + text for text in each.above)
        if lines:
            lines += self.pad(column)
        if index == 0:
            if gap is None:
                return lines or (self.pad(column) if is_lined else "")
            gap = gap.partition(",")[2] if gap.lstrip()[:1] == "," else gap
            return gap.rstrip() + lines if lines else gap
        if gap is not None and "," in gap:
            return gap.rstrip() + lines if lines else gap
        return "," + (lines or (self.pad(column) if is_lined else " "))

    def _flow_pair(self, each: Entry, column: int) -> str:
        if each.key is None:
            return self.write(each.value, column, in_flow=True)
        key = each.key.text or self.plain(each.key.value)
        by = 0 if each.column is None else column - each.column
        between = ": " if each.between is None else self.shifted(each.between, by)
        between += each.remark + self.pad(column + self.step) if each.remark else ""
        return key + between + self.write(each.value, column, in_flow=True)


def quoted(text: str) -> str:
    """A string in double quotes, as both JSON and YAML read it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]", _escape, escaped) + '"'


def _escape(found: re.Match[str]) -> str:
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return short.get(found[0], f"\\u{ord(found[0]):04x}")
