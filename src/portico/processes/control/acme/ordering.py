"""One certificate: ordered, waited for, and renewed in time, whatever ends or fails on the way."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from portico.config import AcmeSettings
from portico.core.tasks import endless
from portico.processes.control.acme.records import Account, Certificate, Order, Record, changed
from portico.processes.control.acme.store import AwayError, LostError, Store
from portico.processes.control.acme.troubles import (
    FAULT,
    GONE,
    NO_ACCOUNT,
    PASSING,
    UNREACHABLE,
    UNUSABLE,
    TroubleError,
    pause_after,
)

if TYPE_CHECKING:
    from portico.processes.control.acme.authority import Answered, Authority, Authorization, OrderState

logger: Final = logging.getLogger("portico.acme")

T = TypeVar("T")

QUESTION: Final = "a question to an authority"
"""The name of the threads that ask."""
_LOOK: Final = 1.0
"""Seconds between two looks: at the clock, and at what other gateways have done."""
_SPREAD: Final = 2.5
"""Seconds until all gateways that share a Redis know what to answer."""
_CALL_TIMEOUT: Final = 60.0
"""Seconds for one question to the authority."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
"""Seconds between two looks at an order, at first and at most, where the authority does not say."""
_HELD: Final = 15.0
"""Seconds of a pause after which the lease is held anew."""
_LONGEST_ORDER: Final = 86_400.0
"""Seconds after which an order that has not come to its end is given up."""
_ASKED_AGAIN: Final = 6 * 3600.0
"""Seconds until an authority is asked again when to renew, and until one is asked for a better certificate."""
_ENDED: Final = ("invalid", "deactivated", "expired", "revoked")
"""What an authorization may be that is of no more use (RFC 8555, section 7.1.6)."""


class OrderedCertificate:
    """Keeps the certificate for some names at hand; `learned` is called when its record has changed.

    `learned` returns once the workers know what they have to answer.
    """

    def __init__(self, name: str, settings: AcmeSettings, store: Store, learned: Callable[[], Any]) -> None:
        self.name = name
        self.settings = settings
        self._store = store
        self._learned = learned
        self._authority: Authority | None = None
        self.record = store.kept.records.get(name) or Record(list(settings.domains))
        self.is_ordering = False
        self.away = ""
        """Why it is not known what other gateways do."""
        self._has_warned = False
        self._began = time.monotonic()
        self.task = endless(self._keep(), f"the certificate for {settings.domains[0]}")

    @property
    def names(self) -> list[str]:
        """The host names that it is for."""
        return list(self.settings.domains)

    def close(self) -> None:
        """Forget the connections to the authority."""
        authority, self._authority = self._authority, None
        if authority is not None:
            authority.close()

    # ---- when

    async def _keep(self) -> None:
        self._warn()
        while True:
            try:
                await self._round()
                self._is_back()
            except AwayError as error:
                self._is_away(str(error))
            except LostError:
                pass  # what the other one has done is seen in the next round
            except Exception:
                logger.exception("a certificate could not be looked after", extra=self._extra())
                await asyncio.sleep(_ASKED_AGAIN)
            self._warn()
            await asyncio.sleep(_LOOK)

    async def _round(self) -> None:
        await self._adopt(await self._store.record(self.name, self.names))
        if not self._has_to_act() or not await self._store.hold(self.name):
            return
        try:
            await self._adopt(await self._store.record(self.name, self.names))  # as the last one has left it
            if self._has_to_act():
                await self._act()
        finally:
            self.is_ordering = False
            self.close()
            await self._store.release(self.name)

    def _has_to_act(self) -> bool:
        if self._store.is_shared and self.record == Record(self.names) and time.monotonic() < self._began + _SPREAD:
            return False  # where Redis has lost what others have, they write it again
        now = time.time()
        asks = self.record.certificate is not None and now >= max(self.record.ask_at, self.record.next_try)
        return now >= self.record.due or asks

    async def _act(self) -> None:
        try:
            if self.record.certificate is not None and time.time() >= self.record.ask_at:
                await self._ask_when()
            if time.time() >= self.record.due:
                self.is_ordering = True
                await self._obtain()
        except TroubleError as trouble:
            await self._note(trouble)
        except (AwayError, LostError):
            raise
        except Exception as error:
            if self.record.kind != FAULT:
                logger.exception("a certificate could not be ordered", extra=self._extra())
            await self._note(TroubleError(FAULT, repr(error)))

    async def _ask_when(self) -> None:
        """Ask the authority when it suggests to renew; without an answer two thirds of the life have to do."""
        record = self.record
        assert record.certificate is not None
        suggested, again = None, time.time() + _ASKED_AGAIN
        with suppress(TroubleError):
            authority = await self._open()
            suggested, again = await self._call(partial(authority.renewal, record.certificate.chain))
        await self._write(changed(record, renew_at=suggested, ask_at=max(again, time.time() + 60.0)))

    # ---- an order, from its beginning or from where it was left

    async def _obtain(self) -> None:
        authority = await self._open()
        await self._register(authority)
        if self.record.order is None or _is_old(self.record.order):
            await self._begin(authority)
        order = self.record.order
        assert order is not None
        answered = await self._look(authority, order.url)
        while (status := answered.order.status) != "valid":
            answered = await self._advance(authority, order, answered.order)
            if answered.order.status == status:
                answered = await self._wait(authority, order, answered)
        chain = await self._call(partial(authority.chain, answered.order, order.key, self.names))
        await self._has_come(Certificate(chain, order.key))

    async def _advance(self, authority: Authority, order: Order, state: OrderState) -> Answered:
        """Do what the order waits for (RFC 8555, section 7.1.6)."""
        if _is_old(order):
            raise TroubleError(UNUSABLE, f"the order is {state.status} for a day", ends_order=True)
        match state.status:
            case "pending":
                await self._prove(authority, state)
            case "ready":
                return await self._finalize(authority, order, state)
            case "processing":
                pass
            case _:
                await self._refuse(authority, state)
        return await self._look(authority, order.url)

    async def _wait(self, authority: Authority, order: Order, answered: Answered) -> Answered:
        """Look again until something has changed."""
        status, pause = answered.order.status, _FIRST_PAUSE
        while answered.order.status == status:
            await self._pause(answered.retry_after if answered.retry_after is not None else pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            if _is_old(order):
                break
            if status == "pending":
                await self._authorizations(authority, answered.order)
            answered = await self._look(authority, order.url)
        return answered

    async def _begin(self, authority: Authority) -> None:
        certificate = self.record.certificate
        replaced = certificate.chain if certificate is not None else ""
        key = await self._call(partial(_new_key, self.settings.key_type))
        url, _ = await self._call(partial(authority.order, self.names, replaced))
        await self._write(changed(self.record, order=Order(url, key, time.time())))
        logger.info("a certificate is ordered", extra={**self._extra(), "order": url})

    async def _prove(self, authority: Authority, state: OrderState) -> None:
        """Have the answers ready everywhere, and then the authority ask for them."""
        authorizations = await self._authorizations(authority, state)
        pending = [each.over_http for each in authorizations if each.status == "pending"]
        order = self.record.order
        assert order is not None
        answers = {challenge.token: authority.answer(challenge.token) for challenge in pending}
        if not answers.items() <= order.answers.items():
            await self._write(changed(self.record, order=changed(order, answers={**order.answers, **answers})))
            if self._store.is_shared:
                await self._pause(_SPREAD)
        for challenge in pending:
            if challenge.status == "pending":
                await self._call(partial(authority.prove, challenge))

    async def _authorizations(self, authority: Authority, state: OrderState) -> list[Authorization]:
        """Those of an order. Raises TroubleError where one has failed: the order may be pending all the same."""
        found = [await self._call(partial(authority.authorization, url)) for url in state.authorizations]
        for each in found:
            if each.status in _ENDED:
                raise TroubleError(each.words.kind, f"{each.identifier.value}: {each.words}", ends_order=True)
        return found

    async def _finalize(self, authority: Authority, order: Order, state: OrderState) -> Answered:
        try:
            return await self._call(partial(authority.finalize, state, order.key, self.names))
        except TroubleError as trouble:
            if trouble.kind == "orderNotReady":  # this gateway before it ended, or another one, has done it
                return await self._look(authority, order.url)
            ends = trouble.kind not in PASSING
            raise TroubleError(trouble.kind, str(trouble), trouble.retry_after, ends_order=ends) from None

    async def _refuse(self, authority: Authority, state: OrderState) -> None:
        """The order has failed: say why."""
        await self._authorizations(authority, state)
        error = state.error
        words = str(error) if error is not None else f"the order is {state.status}, and the authority does not say why"
        raise TroubleError(error.kind if error is not None else UNUSABLE, words, ends_order=True)

    async def _look(self, authority: Authority, url: str) -> Answered:
        try:
            return await self._call(partial(authority.look, url))
        except TroubleError as trouble:
            if trouble.kind in ("malformed", "unauthorized", GONE):
                raise TroubleError(GONE, f"the order is not there any more: {trouble}", ends_order=True) from None
            raise

    # ---- the account

    async def _open(self) -> Authority:
        if self._authority is None:
            account = await self._account()
            self._authority = await self._call(partial(_opened, self.settings, account))
        return self._authority

    async def _account(self) -> Account:
        name = self.settings.account_name
        known = await self._store.account(name)
        if known is not None:
            return known
        return await self._store.keep_account(name, Account(await self._call(_new_account_key)), None)

    async def _register(self, authority: Authority) -> None:
        """Once, and again with the same key where the authority does not know the account any more."""
        account = await self._account()
        if not account.url:
            url = await self._call(authority.register)
            await self._store.keep_account(self.settings.account_name, changed(account, url=url), account)

    # ---- what came of it

    async def _has_come(self, certificate: Certificate) -> None:
        life = certificate.life
        await self._write(Record(self.names, certificate))
        logger.info("a certificate was issued", extra={**self._extra(), "expires": moment(life.end)})
        if self.record.due <= time.time():
            text = "the certificate is at the end of its life already: is the clock of this machine right?"
            raise TroubleError(UNUSABLE, text, _ASKED_AGAIN)

    async def _note(self, trouble: TroubleError) -> None:
        """Remember when to try again; an event, where the kind of trouble is another one than before."""
        record = self.record
        failures = record.failures + 1
        next_try = time.time() + pause_after(trouble, failures)
        if trouble.kind == NO_ACCOUNT:
            await self._forget_account()
        ends = trouble.ends_order or trouble.kind == NO_ACCOUNT
        order = None if ends else record.order
        failed = {"failures": failures, "problem": str(trouble), "kind": trouble.kind, "next_try": next_try}
        await self._write(changed(record, order=order, **failed))
        if trouble.kind != record.kind:
            extra = {**self._extra(), "reason": str(trouble), "kind": trouble.kind, "next_try": moment(next_try)}
            logger.warning("a certificate could not be had", extra=extra)

    async def _forget_account(self) -> None:
        account = await self._account()
        if account.url:
            await self._store.keep_account(self.settings.account_name, changed(account, url=""), account)

    async def _write(self, record: Record) -> None:
        try:
            await self._store.write(self.name, record)
        except AwayError:
            await self._adopt(record)
            raise
        await self._adopt(record)

    async def _adopt(self, record: Record) -> None:
        if record != self.record:
            came_from_elsewhere = record.certificate != self.record.certificate and not self.is_ordering
            self.record = record
            await self._learned()
            if came_from_elsewhere and record.certificate is not None:
                expires = moment(record.certificate.life.end)
                logger.info("a certificate of another gateway is used", extra={**self._extra(), "expires": expires})

    def _warn(self) -> None:
        """An event, once, where clients get what they cannot trust."""
        certificate = self.record.certificate
        if certificate is not None and time.time() < certificate.life.end:
            self._has_warned = False
        elif not self._has_warned:
            self._has_warned = True
            if certificate is None:
                logger.warning("there is no certificate yet: clients get a self-signed one", extra=self._extra())
            else:
                logger.error("a certificate has expired", extra=self._extra())

    def _is_away(self, why: str) -> None:
        if not self.away:
            extra = {**self._extra(), "reason": why}
            logger.warning("gateways cannot agree which of them orders a certificate: none does", extra=extra)
        self.away = why

    def _is_back(self) -> None:
        if self.away:
            logger.info("gateways agree again which of them orders a certificate", extra=self._extra())
        self.away = ""

    def _extra(self) -> dict[str, Any]:
        return {"names": ", ".join(self.names), "directory": self.settings.directory}

    # ---- waiting

    async def _pause(self, seconds: float) -> None:
        """Wait, and stay the one that orders meanwhile. Raises LostError."""
        end = time.monotonic() + min(max(seconds, 0.1), _LONGEST_ORDER)
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, _HELD))
            await self._hold()

    async def _hold(self) -> None:
        if not await self._store.hold(self.name):
            raise LostError

    async def _call(self, question: Callable[[], T]) -> T:
        """What a question that blocks comes to, while this process goes on with all else."""
        await self._hold()
        try:
            return await in_thread(question, _CALL_TIMEOUT)
        except TimeoutError:
            text = f"{self.settings.directory}: it has not answered within {_CALL_TIMEOUT:g} s"
            raise TroubleError(UNREACHABLE, text) from None


async def in_thread(work: Callable[[], T], timeout: float) -> T:
    """The result of work in a thread of its own, which does not keep the process from ending. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return  # nobody waits any more
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name=QUESTION, daemon=True).start()
    async with asyncio.timeout(timeout):
        return await future


def _is_old(order: Order) -> bool:
    """Whether it is given up."""
    return time.time() > order.begun + _LONGEST_ORDER


def moment(seconds: float) -> str:
    """A time as it is shown (RFC 3339)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _opened(settings: AcmeSettings, account: Account) -> Authority:
    from portico.processes.control.acme.authority import Authority  # loads `acme`, in a thread

    return Authority(settings, account)


def _new_account_key() -> str:
    from portico.processes.control.acme.authority import new_account_key

    return new_account_key()


def _new_key(kind: str) -> str:
    from portico.processes.control.acme.authority import new_key

    return new_key(kind)
