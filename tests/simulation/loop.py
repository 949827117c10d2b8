"""An event loop in virtual time for many processes at once: what happens when is a function of the seed alone.

Nothing sleeps: when nothing is to be done now, the clock goes to what is next. Work for threads is done on the loop,
and its outcome comes a little later. A *process* is a context: whatever is scheduled from within one, its tasks, timers
and answers, belongs to it. So one that is paused has all of that held back, while the clock and the others go on; and
one that has crashed does nothing any more, its goodbyes neither.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import sys
from asyncio import events
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import Context, ContextVar
from heapq import heappop, heappush
from typing import Any, TypeVar

T = TypeVar("T")

START_S = 1_700_000_000.0
"""When every history begins, by a clock that is right."""
_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class Process:
    """A process on some machine, as far as its loop's work tells it from others."""

    def __init__(self, loop: SimulatedLoop, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.context = contextvars.copy_context()
        self.context.run(_PROCESS.set, self)
        self._loop = loop
        loop.processes.append(self)
        self._pauses = 0
        self._held: list[events.Handle] = []

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin a task in this process."""
        return self._loop.create_task(work, context=self.context)

    def pause(self, seconds: float) -> None:
        """Stand still; all that comes due meanwhile happens at the end, in its order."""
        self._pauses += 1
        self._loop.call_later(seconds, self._go_on, context=self._loop.world)

    def _go_on(self) -> None:
        self._pauses -= 1
        if not self._pauses and not self.is_dead:
            self.let_go()

    def let_go(self) -> None:
        """Have all that was held back happen now, in its order."""
        held, self._held = self._held, []
        for handle in held:
            self._loop.put(self._loop.time(), handle)

    def crash(self) -> None:
        """End without a goodbye."""
        self.is_dead = True

    def holds(self, handle: events.Handle) -> bool:
        """Whether something is not to happen now."""
        is_held = self._pauses > 0 or self.is_dead
        if is_held:
            self._held.append(handle)
        return is_held


class _NumberedTask(asyncio.Task):  # type: ignore[type-arg]  # generic in stubs only
    """A task whose place in a set is its number's, not its address's."""

    def __init__(self, number: int, work: Coroutine[Any, Any, Any], **options: Any) -> None:
        self._number = number
        super().__init__(work, **options)

    def __hash__(self) -> int:
        return self._number

    __eq__ = object.__eq__


class SimulatedLoop(asyncio.AbstractEventLoop):
    """As much of an event loop as servers and clients use that open no sockets of their own."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._now_s = START_S
        self._due: list[tuple[float, int, events.Handle]] = []
        self._count = 0
        self._tasks: dict[Any, None] = {}
        """Those that are not done, in the order they began."""
        self._is_ending = False
        self.processes: list[Process] = []
        self.world = contextvars.copy_context()
        """The context of what belongs to no process: networks, databases, time."""
        self.world.run(_PROCESS.set, None)
        self._failure: BaseException | None = None
        """What a callback raised: nobody is there to catch it."""

    # -- running

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let everything happen until some work is done; then all else is cancelled.

        Raises:
            AssertionError: It waits for what will never happen.
        """
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(finalizer=self._end_generator)
        events._set_running_loop(self)
        try:
            main = self.create_task(work, context=self.world)
            self._run_until(main)
            return main.result()
        finally:
            self._cancel_all()
            events._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)

    def _run_until(self, task: asyncio.Task[Any]) -> None:
        while not task.done():
            assert self._due, "everybody waits, and nothing is to come"
            self._step()
            if self._failure is not None:
                raise self._failure

    def _step(self) -> None:
        due_s, _, handle = heappop(self._due)
        if handle.cancelled():
            return
        self._now_s = max(self._now_s, due_s)
        if not self._is_ending:
            process = handle._context.get(_PROCESS)
            if process is not None and process.holds(handle):
                return
        handle._run()

    def _cancel_all(self) -> None:
        self._is_ending = True
        for process in self.processes:
            process.let_go()
        for _ in range(10):  # what is cancelled may wait for something in turn, and a server start once more
            for task in list(self._tasks):
                task.cancel()
            end_s = self._now_s + 1
            while self._due and self._due[0][0] < end_s:
                self._step()
        self._due.clear()
        assert not self._tasks, list(self._tasks)

    def _end_generator(self, generator: AsyncGenerator[Any, None]) -> None:
        self.call_soon(lambda: self.create_task(generator.aclose()))  # type: ignore[arg-type]  # it is a coroutine

    def fail(self, error: BaseException) -> None:
        """End the run with an error, whoever would have caught it here."""
        self._failure = self._failure or error

    def put(self, due_s: float, handle: events.Handle) -> None:
        """Let something happen at a time, behind what is due then already."""
        self._count += 1
        heappush(self._due, (due_s, self._count, handle))

    # -- asyncio's

    def time(self) -> float:
        return self._now_s

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> events.Handle:
        handle = events.Handle(callback, args, self, context)
        self.put(self._now_s, handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> events.TimerHandle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> events.TimerHandle:
        handle = events.TimerHandle(when, callback, args, self, context)
        self.put(max(when, self._now_s), handle)
        return handle

    def _timer_handle_cancelled(self, handle: events.TimerHandle) -> None:
        """It is passed over when its time has come."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        self._count += 1
        task = _NumberedTask(self._count, coro, loop=self, name=name, context=context)
        self._tasks[task] = None
        task.add_done_callback(self._forget, context=self.world)
        return task

    def _forget(self, task: Any) -> None:
        del self._tasks[task]

    def run_in_executor(self, executor: object, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        assert executor is None, "threads are the loop's own"
        future = self.create_future()
        try:
            outcome = func(*args)
        except Exception as error:  # noqa: BLE001  # it is whoever's that waits for it
            self.call_later(self.rng.expovariate(1000), _fail, future, error)
        else:
            self.call_later(self.rng.expovariate(1000), _answer, future, outcome)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if "handle" in context and not self._is_ending:
            self.fail(context["exception"])

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False


def _answer(future: asyncio.Future[T], outcome: T) -> None:
    if not future.done():
        future.set_result(outcome)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
