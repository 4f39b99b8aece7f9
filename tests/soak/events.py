"""What is done to the proxy, and when: it follows from a seed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from tcpmesh.testing.child import wait_for
from tests.soak.clients import LATE, Clients, Cut
from tests.soak.configuration import Configuration
from tests.soak.processes import PATIENCE, Proxy, ends, stopped

DRAIN = 6
"""Seconds that clients have of what is no more (`--drain-time-s`)."""

PARENT = 9
"""... and of a process that is no more (`--parent-shutdown-time-s`)."""

PAUSE = 0.5
"""Seconds between two events, on the average."""

ASLEEP = 3.0
"""Seconds that the machine sleeps: longer than any watchdog waits."""

WEIGHTS = {
    "reload": 14,
    "SIGHUP": 6,
    "dry run": 3,
    "refused reload": 6,
    "rollback": 3,
    "discovery": 16,
    "wrong discovery": 3,
    "kill a worker": 5,
    "stop a worker": 2,
    "kill the fork server": 2,
    "reopen logs": 4,
    "look": 6,
    "sleep": 1,
}

WRONG = (
    "{",
    "static_resources: [",
    '{"static_resources": {"clusters": [{"name": "x", "bogus": 1}]}}',
    '{"static_resources": {"listeners": [{"name": "x"}]}}',
    '{"node": {"id": "another"}}',
)


@dataclass(frozen=True)
class Event:
    """Something that is done."""

    kind: str
    seed: int
    pause: float
    """Seconds after the one before."""


def plan(seed: int, seconds: float, upgrades: int) -> Iterator[Event]:
    """What is done in so many seconds, with so many upgrades spread over it."""
    random = Random(seed)
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    due = [seconds * (number + 0.5) / upgrades for number in range(upgrades)]
    now = 0.0
    while now < seconds:
        pause = random.expovariate(1 / PAUSE)
        now += pause
        kind = random.choices(kinds, weights)[0]
        if due and now >= due[0]:
            kind = "upgrade"
            del due[0]
        yield Event(kind, random.getrandbits(32), pause)


class Operator:
    """Who does all that.

    :param say: tells what is done.
    """

    def __init__(
        self,
        proxy: Proxy,
        configuration: Configuration,
        clients: Clients,
        say: Callable[[str], object],
    ) -> None:
        self._proxy = proxy
        self._configuration = configuration
        self._clients = clients
        self._say = say
        self.done: Counter[str] = Counter()
        self.killed = 0
        """Workers that had to be replaced."""
        self.flaws: list[str] = []
        self._acts: dict[str, Callable[[Random], str]] = {
            "reload": self._reload,
            "SIGHUP": self._hang_up,
            "dry run": self._dry_run,
            "refused reload": self._refused,
            "rollback": self._roll_back,
            "discovery": self._discover,
            "wrong discovery": self._discover_wrong,
            "kill a worker": self._kill,
            "stop a worker": self._stop_worker,
            "kill the fork server": self._kill_fork_server,
            "reopen logs": self._reopen,
            "look": self._look,
            "sleep": self._sleep,
            "upgrade": self._upgrade,
        }

    def do(self, event: Event) -> None:
        """One thing."""
        began = time.monotonic()
        try:
            what = self._acts[event.kind](Random(event.seed))
        except (AssertionError, OSError) as e:
            self.flaws.append(f"{event.kind} (seed {event.seed}): {e!r}")
            what = "!"
        self.done[event.kind] += 1
        self._say(f"{event.kind}: {what} ({time.monotonic() - began:.2f} s)")

    # Configurations

    def _gone(self) -> None:
        """Clients of what turns have the drain time."""
        places = frozenset(self._configuration.variants)
        at = time.monotonic() + DRAIN
        self._clients.cut(Cut(at, "they outlived the drain time", places=places, drain=DRAIN))

    def _turn(self, random: Random, discovered: bool) -> str:
        """Change what is wanted: clients avoid what goes, and come to nothing new before it is
        there.
        """
        before = set(self._configuration.absent)
        told = self._configuration.turn(random, discovered)
        self._clients.avoid(before | self._configuration.absent)
        if any(each.startswith("-") for each in told):
            time.sleep(0.3)  # who has chosen one of them has come
        self._gone()
        return " ".join(told)

    def _came(self) -> None:
        """All that is there may be had."""
        self._clients.avoid(self._configuration.absent)

    def _answer(self, path: str, *expected: int) -> str:
        status, body = self._proxy.ask(path, "POST")
        if status not in expected:
            self.flaws.append(f"{path}: {status} {body[:500]}")
        return body.partition("\n")[0]

    def _reload(self, random: Random) -> str:
        told = self._turn(random, discovered=False)
        self._configuration.write()
        answer = self._answer("/reload", 200)
        self._came()
        return f"{told}; {answer}"

    def _hang_up(self, random: Random) -> str:
        told = self._turn(random, discovered=False)
        self._configuration.write()
        before = self._attempts()
        os.kill(self._proxy.main, signal.SIGHUP)
        wait_for(lambda: self._attempts() > before, "the reload", PATIENCE)
        self._came()
        return told

    def _attempts(self) -> int:
        stats = self._proxy.stats()
        return stats["tcpmesh.reload.success"] + stats["tcpmesh.reload.rejected"]

    def _dry_run(self, random: Random) -> str:
        return self._answer("/reload?dry_run", 200)

    def _refused(self, random: Random) -> str:
        path = self._configuration.path
        self._configuration.put(path, random.choice(WRONG))
        try:
            return self._answer("/reload", 400, 409, 422)
        finally:
            self._configuration.put(path, self._configuration.bootstrap())

    def _roll_back(self, random: Random) -> str:
        """Back to the configuration before, and forth again."""
        self._gone()
        self._clients.avoid(self._configuration.variants)
        time.sleep(0.3)
        back = self._answer("/reload/rollback", 200, 400)  # where there is none before
        self._answer("/reload", 200)
        self._came()
        return back

    # Discovery

    def _discover(self, random: Random) -> str:
        told = self._turn(random, discovered=True)
        self._configuration.write_found()
        self._settle_discovery()
        return told

    def _settle_discovery(self) -> None:
        """Wait until the listeners of discovery are those that are wanted."""
        names = [name for name in self._configuration.places if name.startswith("found")]
        wanted = {name for name in names if name not in self._configuration.absent}

        def is_there() -> bool:
            lines = self._proxy.ask("/listeners")[1].splitlines()
            listed = {line.partition("::")[0] for line in lines}
            return listed & set(names) == wanted

        wait_for(is_there, f"the listeners {wanted}", PATIENCE)
        self._came()

    def _discover_wrong(self, random: Random) -> str:
        name = random.choice(["cds.json", "lds.json", "to-found0.json"])
        path = self._configuration.path.with_name(name)
        before = path.read_text()
        self._configuration.put(path, random.choice(WRONG))
        time.sleep(0.2)
        self._configuration.put(path, before)
        return name

    # Processes

    def _condemn(self, random: Random) -> tuple[int, int]:
        """A worker stands still, and its clients may be cut off."""
        workers = self._proxy.workers()
        number = random.choice(sorted(workers))
        pid = workers[number]
        stopped(pid)
        self._clients.cut(Cut(time.monotonic(), "their worker was killed", ends(pid)))
        self.killed += 1
        return number, pid

    def _replaced(self, number: int, pid: int) -> None:
        """Wait until another worker takes the clients that wait at the sockets of this one."""

        def serves() -> bool:
            other = self._proxy.workers().get(number, pid)
            return other != pid and self._proxy.serves(other)

        wait_for(serves, f"another worker {number}", PATIENCE)
        time.sleep(0.3)

    def _kill(self, random: Random) -> str:
        number, pid = self._condemn(random)
        os.kill(pid, signal.SIGKILL)
        self._replaced(number, pid)
        return f"worker {number}"

    def _stop_worker(self, random: Random) -> str:
        """The watchdog has to notice."""
        number, pid = self._condemn(random)
        self._replaced(number, pid)
        return f"worker {number}"

    def _kill_fork_server(self, random: Random) -> str:
        pid = self._proxy.fork_server()
        if not pid:
            return "none"
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self._proxy.fork_server() not in (0, pid), "a fork server", PATIENCE)
        return ""

    def _sleep(self, random: Random) -> str:
        """All processes stand still, as when a laptop is shut."""
        pids = self._proxy.all()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(ASLEEP)
        random.shuffle(pids)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        return f"{len(pids)} processes"

    def _upgrade(self, random: Random) -> str:
        if not self._proxy.is_alone():
            return "the last one is not over"
        before, began = self._proxy.main, time.monotonic()
        self._proxy.upgrade()
        at = time.monotonic() + PARENT
        drain = at - began
        self._clients.cut(Cut(at - LATE, "they outlived the parent shutdown time", drain=drain))
        return f"{before} -> {self._proxy.main}"

    # What changes nothing

    def _reopen(self, random: Random) -> str:
        os.kill(self._proxy.main, signal.SIGUSR1)
        return ""

    def _look(self, random: Random) -> str:
        path = random.choice(
            ["/stats", "/clusters", "/connections", "/config_dump", "/listeners", "/server_info"]
        )
        status, body = self._proxy.ask(path)
        if status != 200:
            self.flaws.append(f"{path}: {status}")
        return f"{path}, {len(body)} bytes"
