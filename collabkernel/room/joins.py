"""Who is in a room: how a session gets its site, by joining or by resuming one, and how it leaves.

A session is known from the opening of its socket on, and *live* once the log has answered for its site. Everything here
returns the effects that follow, in order.
"""

from __future__ import annotations

from collabkernel.errors import CollabKernelError, PurgedError, RemoteProtocolError
from collabkernel.limits import Limits
from collabkernel.room.degraded import Degraded, told
from collabkernel.room.effects import Close, CountReject, Effect, GrantSite, Send
from collabkernel.room.events import AskFailed, HelloDue, SessionOpened, SiteGranted
from collabkernel.room.fanout import FanOut
from collabkernel.room.intake import Intake
from collabkernel.room.presence import PresenceBoard
from collabkernel.room.session import Session
from collabkernel.wire import frames
from collabkernel.wire.messages import Bye, Hello, Notice, Submit

RESET_RETRY_MS = 200
"""After a reset clients wait this long: about what loading a room takes."""
LACKS_PURGE = Bye(PurgedError.code, "an edit names what was deleted long ago; join as a new site, and make it again")
BAD_RESUME = Bye("bad-resume", "this site cannot be resumed; join as a new one")


def notice(session: Session, error: CollabKernelError) -> list[Effect]:
    """Tell one session of an error that changes nothing."""
    part = frames.notices_part([Notice(error.code, str(error), error.retry_after_ms or 0)])
    return [CountReject(error.code), Send((session.id,), part)]


class Joins:
    """The sessions of one room."""

    __slots__ = (
        "_ahead",
        "_blocked",
        "_degraded",
        "_fanout",
        "_intake",
        "_limits",
        "_presence",
        "_resumes",
        "by_id",
        "by_site",
        "idle_since_ms",
    )

    def __init__(
        self,
        intake: Intake,
        fanout: FanOut,
        presence: PresenceBoard,
        degraded: Degraded,
        limits: Limits,
        now_ms: int,
    ) -> None:
        self._degraded = degraded
        self._intake = intake
        self._fanout = fanout
        self._presence = presence
        self._limits = limits
        self.by_id: dict[int, Session] = {}
        self.by_site: dict[int, Session] = {}
        """Those that are live."""
        self._blocked: dict[int, Session] = {}
        """By id: those whose sockets take nothing, who waits longest first."""
        self._resumes: dict[int, int] = {}
        """By session: the site that it has asked the log for, and not been answered yet."""
        self._ahead: list[SiteGranted] = []
        """Answers for sites that have seen more of the log, or stored more in it, than was shown here."""
        self.idle_since_ms: int | None = now_ms
        """Since when nobody is here; None while somebody is."""

    def open(self, event: SessionOpened, now_ms: int) -> None:
        """A socket is there; nothing has been said yet."""
        self.by_id[event.session_id] = Session(event.session_id, event.principal, self._limits, now_ms)
        self.idle_since_ms = None

    def hello(self, session: Session, hello: Hello, now_ms: int) -> list[Effect]:
        """A session asks for a site."""
        if session.is_live or session.is_asking_site:
            return notice(session, RemoteProtocolError("Hello was said already"))
        session.is_asking_site = True
        session.kind = hello.kind
        grant = GrantSite(session.id, session.principal.actor, int(hello.kind), hello.resume)
        if hello.resume is None:
            return [grant]
        session.cursor = hello.resume.through
        if not self._ask_to_resume(session, hello.resume.site):
            return self.end(session, BAD_RESUME, now_ms)
        return [*self._intake.take_append(), grant]  # behind what the older connection has sent, or it is fenced

    def submit(self, session: Session, submit: Submit, wait_ms: int, now_ms: int) -> list[Effect]:
        """Take a session's envelopes; send it away if one of them names what was purged."""
        effects = self._intake.submit(session, submit, wait_ms, now_ms)
        return effects + (self.end(session, LACKS_PURGE, now_ms) if session.lacks_purge else [])

    def hello_due(self, event: HelloDue, now_ms: int) -> list[Effect]:
        """End a session that has said nothing for too long."""
        session = self.by_id.get(event.session_id)
        if session is None or session.is_live or session.is_asking_site:
            return []
        reason = f"no Hello within {self._limits.hello_timeout_ms} ms"
        return self.end(session, Bye("hello-timeout", reason), now_ms)

    def _ask_to_resume(self, session: Session, site: int) -> bool:
        """Hold back whoever has the site here until the log has answered: what he sent now would be fenced by then.

        That others of his name can hold him back is no more than they may do anyway; strangers cannot.
        """
        older = self.by_site.get(site)
        if older is not None and older.principal.actor != session.principal.actor:
            return False
        self._resumes[session.id] = site
        if older is not None:
            older.is_held = True
        return True

    def _resume_answered(self, session_id: int) -> tuple[int, list[Effect]]:
        """The site that a session had asked for, or 0; who has it goes on if nobody else asks for it."""
        site = self._resumes.pop(session_id, 0)
        holder = self.by_site.get(site)
        if holder is not None and site not in self._resumes.values():
            return site, self._intake.release(holder)
        return site, []

    def site_granted(self, event: SiteGranted, now_ms: int) -> list[Effect]:
        """The log has answered for a site: its session is live, and gets all that it lacks.

        Who was at another server may have seen what was not shown here yet, and stored what is not here. He waits for
        it: a state without it would take back what he saw, and his next edits would not fit it.
        """
        if event.head > self._fanout.flushed:
            self._ahead.append(event)
            return []
        row = event.site
        older = self.by_site.get(row.site) if row is not None else None
        effects: list[Effect] = []
        if older is not None:
            effects += self.end(older, Bye("superseded", "this site was resumed by another connection"), now_ms)
        effects += self._resume_answered(event.session_id)[1]
        session = self.by_id.get(event.session_id)
        if session is None:
            return effects
        session.is_asking_site = False
        if row is None:
            return effects + self.end(session, BAD_RESUME, now_ms)
        session.site, session.epoch, session.next_counter = row.site, row.epoch, row.last_counter + 1
        session.is_live = True
        session.is_held = row.site in self._resumes.values()
        self.by_site[row.site] = session
        is_resumed = not event.secret and event.log_agrees and session.cursor <= self._fanout.flushed
        if not is_resumed:
            session.cursor = 0
        effects.append(self._welcome(session, event.secret, not event.secret and not is_resumed, now_ms))
        self._presence.show(session)
        if is_resumed:
            effects += self._fanout.catch_up(session)
        elif self._fanout.flushed or not event.secret:
            effects.append(self._fanout.read(session, with_snapshot=True))
        return effects + (told((session,), is_on=True) if self._degraded.is_on else [])

    def shown(self, now_ms: int) -> list[Effect]:
        """More of the log was shown: let those in who waited for it."""
        ahead, self._ahead = self._ahead, []
        return [effect for event in ahead for effect in self.site_granted(event, now_ms)]

    def _welcome(self, session: Session, secret: bytes, resync: bool, now_ms: int) -> Effect:
        welcome = session.welcome(secret, self._fanout.flushed, resync, self._limits, now_ms)
        return Send((session.id,), frames.welcome_part(welcome) + self._presence.part_for(session))

    def ask_failed(self, event: AskFailed, now_ms: int) -> list[Effect]:
        """The log did not answer for one session: he comes back, and so does who has the site that he asked for.

        The epoch of that site may have been raised all the same, if the log was asked.
        """
        site, effects = self._resume_answered(event.session_id)
        holder = self.by_site.get(site) if event.was_tried else None
        for session in (self.by_id.get(event.session_id), holder):
            if session is not None:
                effects += self.end(session, Bye(event.code, event.reason, event.retry_after_ms), now_ms)
        return effects

    def blocked(self, session_id: int, now_ms: int) -> None:
        """The socket of a session holds more than the high mark."""
        session = self.by_id.get(session_id)
        if session is not None and session.blocked_since_ms is None:
            session.blocked_since_ms = now_ms
            self._blocked[session_id] = session

    def drained(self, session: Session) -> None:
        """The socket of a session has taken what it held."""
        session.blocked_since_ms = None
        self._blocked.pop(session.id, None)

    def end_laggards(self, now_ms: int) -> list[Effect]:
        """Send away who has been blocked for too long."""
        max_ms = self._limits.lagging_max_ms
        bye = Bye("slow-consumer", f"this connection took nothing for {max_ms} ms; it may resume")
        effects: list[Effect] = []
        while (due_ms := self.laggard_due_ms()) is not None and due_ms <= now_ms:
            effects += self.end(next(iter(self._blocked.values())), bye, now_ms)
        return effects

    def laggard_due_ms(self) -> int | None:
        """When to ``end_laggards``."""
        first = next(iter(self._blocked.values()), None)
        if first is None or first.blocked_since_ms is None:
            return None
        return first.blocked_since_ms + self._limits.lagging_max_ms

    def end(self, session: Session, bye: Bye, now_ms: int) -> list[Effect]:
        """Send a session away."""
        self.drop(session.id, now_ms)
        return [Send((session.id,), frames.bye_part(bye)), Close(session.id, bye.code, bye.reason)]

    def drop(self, session_id: int, now_ms: int) -> None:
        """A session is gone."""
        session = self.by_id.pop(session_id, None)
        self._blocked.pop(session_id, None)
        if session is None:
            return
        if self.by_site.get(session.site) is session:
            del self.by_site[session.site]
            self._presence.hide(session)
        if not self.by_id:
            self.idle_since_ms = now_ms

    def end_all(self, bye: Bye) -> list[Effect]:
        """Send everybody away."""
        ids = tuple(self.by_id)
        self.by_id = {}
        self.by_site = {}
        self._blocked = {}
        if not ids:
            return []
        closes = [Close(session_id, bye.code, bye.reason) for session_id in ids]
        return [Send(ids, frames.bye_part(bye)), *closes]
