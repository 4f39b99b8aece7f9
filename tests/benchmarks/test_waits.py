"""The benchmark of where a request waits."""

from __future__ import annotations

import os
import platform
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from benchmarks import command
from benchmarks.process import BenchmarkError, Child
from benchmarks.results import Failure, Results, Sample
from benchmarks.waits import __main__ as command_line
from benchmarks.waits import client as asking
from benchmarks.waits import events, tracing, turns
from benchmarks.waits.__main__ import Contestant, Run
from benchmarks.waits.events import Event, Kind, parse
from benchmarks.waits.figures import SHARES, SUMS, of_record, of_times
from benchmarks.waits.split import PARTS, Part, Passage, Record, Threads, Timeline, follow
from benchmarks.waits.table import markdown, verdict
from benchmarks.waits.tracing import Tracing
from benchmarks.waits.turns import MODES, Client
from tests.benchmarks.peers import EchoBackend

CLIENT, PROXY, SERVER = 11, 22, 33
WRITE, WAIT = 1, 232
SWITCH = (
    "           nginx-33    [001] d..2. 7.000009: sched_switch: prev_comm=nginx prev_pid=33 "
    "prev_prio=120 prev_state={state} ==> next_comm=a b next_pid=22 next_prio=120"
)


class EventTests(SynchronousTestCase):
    """Lines of the kernel's record."""

    def test_calls(self) -> None:
        """A call to the kernel has a beginning and an end, and the number of what was called."""
        lines = (
            " worker-thread x-22 [000] ..... 86589.612758: sys_enter: NR 232 (6, 55, 100, 4, 0, 0)",
            "          twistd-22 [000] ..... 86589.612759: sys_exit: NR 232 = 1",
        )
        self.assertEqual(
            [
                Event(86589612758, 22, Kind.ENTER, 0, 232),
                Event(86589612759, 22, Kind.EXIT, 0, 232),
            ],
            list(parse(lines)),
        )

    def test_waking(self) -> None:
        """A waking is of whoever is woken, and on the processor of whoever wakes."""
        line = (
            "python-11 [001] d.s7. 7.000001: sched_waking: comm=a pid=9 pid=22 prio=120 "
            "target_cpu=000"
        )
        self.assertEqual([Event(7000001, 22, Kind.WOKEN, 1)], list(parse([line])))

    def test_switch(self) -> None:
        """A switch takes a processor from one thread, which may want to go on, and gives it to
        another.
        """
        for state, kind in (("S", Kind.SLEEPS), ("R", Kind.PREEMPTED), ("R+", Kind.PREEMPTED)):
            self.assertEqual(
                [Event(7000009, 33, kind, 1), Event(7000009, 22, Kind.RUNS, 1)],
                list(parse([SWITCH.format(state=state)])),
            )

    def test_wrong(self) -> None:
        """What is no line of a record is refused."""
        self.assertRaisesRegex(BenchmarkError, "not a line", list, parse(["CPU:0 [LOST 3 EVENTS]"]))

    def test_processor(self) -> None:
        """System calls of a processor that is not known are not guessed."""
        self.patch(platform, "machine", lambda: "vax")
        self.assertRaisesRegex(BenchmarkError, "calls of vax are not known", events.sending)

    def test_sending(self) -> None:
        """On each that is known, there are four calls that send."""
        for machine in ("x86_64", "aarch64"):
            self.patch(platform, "machine", lambda machine=machine: machine)
            self.assertEqual(4, len(events.sending()), machine)


def way(at: int, slow: int = 0) -> list[Event]:
    """A request and its reply, from `at` on; the proxy's program needs `slow` longer for it."""

    def event(moment: int, thread: int, kind: Kind, call: int = -1, processor: int = 0) -> Event:
        later = slow if moment > 5 else 0
        return Event(at + moment + later, thread, kind, processor, call)

    return [
        event(0, CLIENT, Kind.ENTER, WRITE),
        event(2, PROXY, Kind.WOKEN),
        event(3, CLIENT, Kind.EXIT, WRITE),
        event(3, CLIENT, Kind.ENTER, WAIT),
        event(4, CLIENT, Kind.SLEEPS),
        event(4, PROXY, Kind.RUNS),
        event(5, PROXY, Kind.EXIT, WAIT),
        event(9, PROXY, Kind.PREEMPTED),
        event(12, PROXY, Kind.RUNS),
        event(14, PROXY, Kind.ENTER, WRITE),
        event(17, SERVER, Kind.WOKEN),
        event(18, PROXY, Kind.EXIT, WRITE),
        event(19, PROXY, Kind.ENTER, WAIT),
        event(20, PROXY, Kind.SLEEPS),
        event(21, SERVER, Kind.RUNS, processor=1),
        event(22, SERVER, Kind.EXIT, WAIT),
        event(25, SERVER, Kind.ENTER, WRITE),
        event(26, PROXY, Kind.WOKEN, processor=1),
        event(27, SERVER, Kind.EXIT, WRITE),
        event(28, SERVER, Kind.ENTER, WAIT),
        event(29, SERVER, Kind.SLEEPS),
        event(30, PROXY, Kind.RUNS),
        event(31, PROXY, Kind.EXIT, WAIT),
        event(32, PROXY, Kind.ENTER, WRITE),
        event(34, CLIENT, Kind.WOKEN),
        event(35, PROXY, Kind.EXIT, WRITE),
        event(36, PROXY, Kind.ENTER, WAIT),
        event(37, PROXY, Kind.SLEEPS),
        event(39, CLIENT, Kind.RUNS),
        event(40, CLIENT, Kind.EXIT, WAIT),
    ]


THREADS = Threads(CLIENT, (SERVER, 34), (PROXY, 23), {WRITE}, {WRITE})


class SplitTests(SynchronousTestCase):
    """Where a request was."""

    def test_whole(self) -> None:
        """Each microsecond is in one part of one stage, and all together is what the client
        waited.
        """
        (passage,) = follow(way(100), THREADS).passages

        def parts(*values: int) -> dict[Part, int]:
            return dict(zip(PARTS, values, strict=True))

        self.assertEqual(parts(2, 2, 3, 1 + 3, 4 + 2), passage.request)
        self.assertEqual(parts(0, 4, 0, 1, 3), passage.server)
        self.assertEqual(parts(1, 4, 0, 2 + 1, 1), passage.reply)
        self.assertEqual(40, passage.total)
        self.assertEqual(40, sum(share.take(passage) for share in SUMS))

    def test_habits(self) -> None:
        """A record tells how often the proxy called the kernel and was woken, and how often by a
        thread on its own processor.
        """
        record = follow([*way(100), *way(200)], THREADS)

        self.assertEqual((2, 0), (len(record.passages), record.missed))
        self.assertEqual({WRITE: 2.0, WAIT: 2.0}, record.calls)
        self.assertEqual((2.0, 0.5), (record.wakings, record.near))

    def test_awake(self) -> None:
        """A server that is awake already has the request when its next call is over."""
        found = [each for each in way(100) if (each.thread, each.at) != (SERVER, 117)]
        first = [Event(90, SERVER, Kind.WOKEN), Event(91, SERVER, Kind.RUNS)]

        (passage,) = follow([*first, *found], THREADS).passages
        self.assertEqual(3, sum(passage.server.values()))
        self.assertEqual(40, passage.total)

    def test_missed(self) -> None:
        """A request whose reply is not in the record is not followed, and counted."""
        unanswered = [each for each in way(200) if each.thread != SERVER]
        record = follow([*way(100), *unanswered, *way(300)], THREADS)

        self.assertEqual((2, 1), (len(record.passages), record.missed))

    def test_nothing(self) -> None:
        """A record without any request is no record."""
        self.assertRaisesRegex(BenchmarkError, "not show a single", follow, [], THREADS)

    def test_race(self) -> None:
        """Whoever is woken just before it would have slept goes on."""
        line = Timeline(
            [
                Event(0, PROXY, Kind.RUNS),
                Event(1, PROXY, Kind.EXIT, 0, WAIT),
                Event(2, PROXY, Kind.ENTER, 0, WAIT),
                Event(3, PROXY, Kind.WOKEN),
                Event(5, PROXY, Kind.EXIT, 0, WAIT),
            ]
        )
        self.assertEqual([], line.wakings)
        self.assertEqual(3, line.split(1, 6)[Part.KERNEL])


class FigureTests(SynchronousTestCase):
    """What is said of many requests."""

    def test_slowest(self) -> None:
        """What the slowest hundredth had to wait for is told from what all had."""
        many = [each for number in range(200) for each in way(number * 1000, 700 * (number > 197))]
        values = of_record(follow(many, THREADS))

        self.assertEqual(
            (40, 40, 40), tuple(values[f"recorded-{q}"] for q in ("p50", "p90", "p99"))
        )
        self.assertEqual((14, 714.0), (values["own-p50"], values["own-slow"]))
        self.assertEqual(values["wait-p50"], values["wait-slow"])

    def test_back_to_back(self) -> None:
        """Without a rate, a request counts from when it was sent."""
        self.assertEqual(5, of_times([(0, 0, 5000), (6000, 6000, 11_000)], False)["seen-p99"])

    def test_late(self) -> None:
        """At a fixed rate, one that waits for the one before it counts from when it was due."""
        times = [(1000, 1000, 5000), (2000, 5000, 6000), (9000, 9500, 10_500)]

        values = of_times(times, True)
        self.assertEqual((4, 4), (values["seen-p50"], values["seen-p99"]))
        self.assertEqual(1, of_times(times[2:], True)["seen-p50"])


class ClientTests(SynchronousTestCase):
    """The client."""

    def setUp(self) -> None:
        self.backend = EchoBackend()
        self.backend.start()
        self.addCleanup(self.backend.stop)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def test_order(self) -> None:
        """It asks as often as it is told to, one question after the other, as often as told."""
        with Client(self.backend.port, self.folder) as client:
            for asked in (3, 5):
                times = client.ask(asked, 0)
                self.assertEqual(asked, len(times))
                self.assertEqual(sorted(times), times)
                for due, sent, done in times:
                    self.assertEqual(due, sent)
                    self.assertLess(sent, done)
        self.assertEqual(8, self.backend.answered)

    def test_rate(self) -> None:
        """At a fixed rate, requests are due that far apart, and none is sent before."""
        with Client(self.backend.port, self.folder) as client:
            times = client.ask(4, 2_000_000)
        first = times[0][0]
        self.assertEqual(
            [first + each * 2_000_000 for each in range(4)], [due for due, *_ in times]
        )
        self.assertTrue(all(due <= sent for due, sent, _ in times))

    def test_wrong(self) -> None:
        """An answer to another question is an error, and so is one with another status."""
        for answer, told in (
            (b"HTTP/1.1 200 OK\r\n\r\n000000000000000008", "wrong answer"),
            (b"HTTP/1.1 503 no\r\n\r\n000000000000000007", "wrong answer b'HTTP/1.1 503"),
        ):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                theirs.sendall(answer)
                theirs.shutdown(socket.SHUT_WR)
                self.assertRaisesRegex(BenchmarkError, told, asking.ask, ours, 7)

    def test_ended(self) -> None:
        """Where there is no proxy, the client says so."""
        self.backend.stop()
        with Client(self.backend.port, self.folder) as client:
            self.assertRaisesRegex(BenchmarkError, "client has ended: .*refused", client.ask, 1, 0)


class TracingTests(SynchronousTestCase):
    """The kernel's record itself."""

    def test_refused(self) -> None:
        """Where there is none, one line says so."""
        self.patch(tracing, "_MOUNTED", Path(self.mktemp()))
        self.patch(tracing, "MOUNT", ("false",))
        self.assertRaisesRegex(BenchmarkError, "the kernel's events are for root", Tracing)

    def test_recorded(self) -> None:
        """A thread that calls the kernel is seen doing it, and nothing stays behind."""
        try:
            with Tracing() as record:
                record.start([os.getpid()])
                os.getppid()
                found = list(parse(record.stop()))
        except BenchmarkError as e:
            raise SkipTest(str(e)) from None
        kinds = {event.kind for event in found if event.thread == os.getpid()}
        self.assertLessEqual({Kind.ENTER, Kind.EXIT}, kinds)
        self.assertFalse(record.instance.exists())


class TurnTests(SynchronousTestCase):
    """What is done for a turn."""

    def test_threads(self) -> None:
        """The threads of a process are those of its children, too."""
        folder = Path(self.mktemp())
        folder.mkdir()
        with Child([sys.executable, "-c", "input()"], folder, "child") as child:
            self.assertEqual({child.pid}, turns.threads_of(child.pid))
            self.assertIn(child.pid, turns.threads_of(os.getpid()))

    def test_before_others(self) -> None:
        """Threads go before all other programs for so long only."""
        told: list[tuple[int, int]] = []
        self.patch(os, "sched_setscheduler", lambda pid, policy, _: told.append((pid, policy)))

        with turns.before_others([7]):
            self.assertEqual([(7, os.SCHED_RR)], told)
        self.assertEqual([(7, os.SCHED_RR), (7, os.SCHED_OTHER)], told)


def results(**figures: float) -> Results:
    """Of two proxies in one mode, of which Envoy takes twice as long for everything."""
    passage = Passage(*(dict.fromkeys(PARTS, 10) for _ in range(4)))
    values = {
        **of_record(Record([passage], 0, {WRITE: 2.0}, 2.0, 0.5)),
        **of_times([(0, 0, 9)], False),
    }
    values.update(figures)
    twice = {key: 2 * value for key, value in values.items()}
    samples = [Sample(0, "closed", "tcpmesh", values), Sample(0, "closed", "envoy", twice)]
    return Results({"kernel": "Linux"}, samples)


class TableTests(SynchronousTestCase):
    """The page."""

    def test_rows(self) -> None:
        """There is a row for each part of a request, with its quantiles for each proxy."""
        page = markdown(results())

        for share in SHARES:
            self.assertIn(share.title, page)
        self.assertIn("| **work of the proxy** | 40 / 40 / 40 | 80 / 80 / 80 |", page)
        self.assertIn("| calls to the kernel | 2.00 | 4.00 |", page)
        self.assertIn("- kernel: Linux", page)

    def test_verdict(self) -> None:
        """A sentence says whose the slowest requests are."""
        said = verdict(
            results(**{"own-slow": 10.0, "wait-slow": 80.0, "rest-slow": 10.0}), MODES[0]
        )

        self.assertIn("takes 40 µs at the median and 40 at p99, that of envoy 80 and 80;", said)
        self.assertIn("its work is 10 %, and waiting for a processor 80 %.", said)

    def test_alone(self) -> None:
        """Without Envoy there is no such sentence."""
        found = results()
        found.samples.pop()
        self.assertEqual("", verdict(found, MODES[0]))
        self.assertIn("| all, as recorded | 200 / 200 / 200 |", markdown(found))

    def test_wrong(self) -> None:
        """What went wrong, and who is absent, is on the page."""
        found = results()
        found.failures.append(Failure(0, "closed", "envoy", "it ended"))
        found.absent["tcpmesh-uring"] = "io_uring cannot be had here"

        page = markdown(found)
        self.assertIn("- closed, envoy: it ended", page)
        self.assertIn("- tcpmesh-uring is left out: io_uring cannot be had here", page)


class RunTests(SynchronousTestCase):
    """The order of a run."""

    def setUp(self) -> None:
        self.patch(command_line, "say", lambda text: None)

    def run_with(
        self, measured: Callable[..., dict[str, float]]
    ) -> tuple[Run, dict[str, Contestant]]:
        """A run of two proxies."""
        self.patch(command_line, "measured", measured)

        class Alive:
            pid = os.getpid()

            def check(self) -> None:
                """It runs."""

        alive = Contestant(Alive(), Alive())  # type: ignore[arg-type]
        return Run(Results({}), None), {"tcpmesh": alive, "envoy": alive}  # type: ignore[arg-type]

    def test_turns(self) -> None:
        """The proxies take turns in each mode, and another one is first in the next round."""
        values = results().samples[0].values
        run, running = self.run_with(lambda *_: dict(values))
        for count in range(2):
            run.round(count, running, MODES[:2])
        self.assertEqual(
            [
                *(("tcpmesh", "closed"), ("envoy", "closed")),
                *(("tcpmesh", "closed-alone"), ("envoy", "closed-alone")),
                *(("envoy", "closed"), ("tcpmesh", "closed")),
                *(("envoy", "closed-alone"), ("tcpmesh", "closed-alone")),
            ],
            [(each.proxy, each.workload) for each in run.results.samples],
        )

    def test_failure(self) -> None:
        """What goes wrong is a line of the report, and the others go on."""

        def measured(mode: object, client: object, child: object, *_: object) -> dict[str, float]:
            raise BenchmarkError("the client has ended: x\nmore")

        run, running = self.run_with(measured)
        run.round(0, running, MODES[:1])
        self.assertEqual(["tcpmesh", "envoy"], [each.proxy for each in run.results.failures])
        self.assertEqual("the client has ended: x", run.results.failures[0].reason)


class CommandTests(SynchronousTestCase):
    """What a user can get wrong."""

    def setUp(self) -> None:
        self.told: list[str] = []
        self.patch(command, "say", self.told.append)
        self.patch(command_line, "_run", self.fail)

    def status(self, arguments: Sequence[str]) -> int:
        """The exit status of the command."""
        return command.status_of(lambda: command_line.main(arguments))

    def test_unknown_name(self) -> None:
        """Names that nothing has are told before anything runs."""
        self.assertEqual(2, self.status(["--only", "envoy,closed,ovney"]))
        self.assertEqual(["unknown: ovney; --list prints what there is"], self.told)

    def test_chosen(self) -> None:
        """Names choose proxies, modes, or both; what is not named is what is usual."""
        for only, proxies, modes in (
            ("", list(command_line._WHO), len(MODES)),
            ("haproxy", ["haproxy"], len(MODES)),
            ("paced", list(command_line._WHO), 1),
            ("envoy,paced,closed", ["envoy"], 2),
        ):
            chosen = command_line._chosen(command_line._options(["--only", only]))
            self.assertEqual(sorted(proxies), sorted(each.name for each in chosen[0]), only)
            self.assertEqual(modes, len(chosen[1]), only)
