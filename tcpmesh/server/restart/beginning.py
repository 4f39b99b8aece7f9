"""What a process does first of all: it finds the one that it is to take over from, or sees to it
that it is the only one.

This happens before twistd detaches the process, so that a refusal has a terminal to be written to.
Nobody is served yet, so it may wait; but not long for a process that hangs.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Mapping
from dataclasses import field
from time import monotonic
from typing import Any

from tcpmesh.facts import dataclass
from tcpmesh.net.listen import BindError
from tcpmesh.server.channel.framing import (
    AT_ONCE,
    Frame,
    FrameReader,
    FramingError,
    pieces_of,
)
from tcpmesh.server.restart.messages import (
    MOST_BYTES,
    decode,
    encode,
    real,
    text,
    whole,
)
from tcpmesh.server.restart.rendezvous import (
    bind_any,
    bind_restart_socket,
    connect,
    restart_address,
)
from tcpmesh.server.restart.sockets import Taken
from tcpmesh.server.restart.started import Started
from tcpmesh.values.lifecycle.restart import ALONE, VERSION, CannotTakeOver, RestartFacts
from tcpmesh.values.server_options import ServerOptions

PATIENCE = 10.0
"""Seconds that the older process may take to answer."""

_INT = array.array("i").itemsize


@dataclass
class Beginning:
    """How a process begins."""

    facts: RestartFacts = ALONE
    restart_socket: socket.socket | None = None
    predecessor: socket.socket | None = None
    """The connection to the process that this one takes over from."""
    taken: Taken = field(default_factory=Taken)


def begin(options: ServerOptions, started: Started | None, uid: int) -> Beginning:
    """Take over from a process, or be the first one.

    :param started: how this process was started by the one that it takes over from, if it was.
    :param uid: of the user that this process becomes.
    :raise CannotTakeOver: where neither can be; the text is one line.
    """
    if started is not None:
        os.set_inheritable(started.fd, False)
        sock = socket.socket(fileno=started.fd)
        return _take_over(sock, _hello(started.epoch, True), started.epoch, started.base_id)
    if options.disable_hot_restart:
        return Beginning()
    begun = _begin_first(options) if not options.restart_epoch else _begin_next(options, uid)
    if options.base_id_path:
        _write(options.base_id_path, begun.facts.base_id)
    return begun


def _begin_first(options: ServerOptions) -> Beginning:
    path, mode = options.socket_path, options.socket_mode
    base_id = options.base_id
    try:
        if options.use_dynamic_base_id:
            base_id, sock = bind_any(path, mode)
        else:
            sock = bind_restart_socket(restart_address(path, base_id), mode)
    except BindError as e:
        raise CannotTakeOver(f"{e}{_hint(str(e), base_id)}") from None
    facts = RestartFacts(options.restart_epoch, base_id=base_id, version=VERSION)
    return Beginning(facts, sock)


def _hint(error: str, base_id: int) -> str:
    if "in use" not in error and "listens there" not in error:
        return ""
    return (
        f"; another tcpmesh has base id {base_id}: give this one its own (--base-id or "
        "--use-dynamic-base-id), or --disable-hot-restart"
    )


def _begin_next(options: ServerOptions, uid: int) -> Beginning:
    epoch, base_id = options.restart_epoch, options.base_id
    address = restart_address(options.socket_path, base_id)
    try:
        sock = connect(address, PATIENCE, uid)
    except (FileNotFoundError, ConnectionRefusedError):
        if options.skip_hot_restart_on_no_parent:
            return _begin_first(options)
        raise CannotTakeOver(
            f"there is no process with base id {base_id} to take over from at '{address}': the "
            "first one has epoch 0, and --skip-hot-restart-on-no-parent starts without it"
        ) from None
    except OSError as e:
        raise CannotTakeOver(f"cannot connect to '{address}': {e.strerror or e}") from None
    return _take_over(sock, _hello(epoch, False), epoch, base_id)


def _hello(epoch: int, is_upgrade: bool) -> bytes:
    return encode("hello", version=VERSION, epoch=epoch, pid=os.getpid(), is_upgrade=is_upgrade)


def _take_over(sock: socket.socket, hello: bytes, epoch: int, base_id: int) -> Beginning:
    taken = Taken()
    try:
        generation, served = _ask(sock, hello, taken)
    except CannotTakeOver:
        taken.close()
        sock.close()
        raise
    facts = RestartFacts(epoch, generation + 1, base_id, VERSION, max(0.0, served))
    return Beginning(facts, taken.restart, sock, taken)


def _ask(sock: socket.socket, hello: bytes, taken: Taken) -> tuple[int, float]:
    """Say hello, and take what there is to be had: the generation of the older process, and since
    how many seconds there are any.

    :raise CannotTakeOver: where there is no answer, or it is none.
    """
    reader, end = FrameReader(MOST_BYTES), monotonic() + PATIENCE
    frames: list[Frame] = []
    try:
        for piece in pieces_of(hello):
            sock.sendall(piece.data)
        while True:
            while frames:
                told = _answer(frames.pop(0), taken)
                if told is not None:
                    return whole(told, "generation", 1), real(told, "served")
            sock.settimeout(max(0.001, end - monotonic()))
            frames = reader.feed(*_read(sock))
    except TimeoutError:
        raise CannotTakeOver(
            f"the process to take over from does not answer within {PATIENCE:g} s"
        ) from None
    except (OSError, FramingError) as e:
        reason = getattr(e, "strerror", None) or str(e)
        raise CannotTakeOver(f"the process to take over from answers wrongly: {reason}") from None
    finally:
        for fd in (*reader.abandon(), *(fd for frame in frames for fd in frame.descriptors)):
            os.close(fd)


def _answer(frame: Frame, taken: Taken) -> Mapping[str, Any] | None:
    """Do as one answer says; its fields, where it is the last."""
    told = decode(frame.body)
    if told["kind"] == "refused":
        raise CannotTakeOver(f"the running process serves on: {text(told, 'reason')}")
    if told["kind"] == "sockets":
        taken.add(frame)
        return None if told.get("more") else told
    for fd in frame.descriptors:
        os.close(fd)
    return None


def _read(sock: socket.socket) -> tuple[bytes, list[int]]:
    data, beside, _, _ = sock.recvmsg(
        1 << 16, socket.CMSG_SPACE(AT_ONCE * _INT), socket.MSG_CMSG_CLOEXEC
    )
    numbers = array.array("i")
    for level, kind, content in beside:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(content[: len(content) // _INT * _INT])
    if not data:
        for fd in numbers:
            os.close(fd)
        raise FramingError("it has ended")
    return data, list(numbers)


def _write(path: str, base_id: int) -> None:
    try:
        with open(path, "w") as f:
            f.write(str(base_id))
    except OSError as e:
        raise CannotTakeOver(f"cannot write the base id to '{path}': {e.strerror}") from None
