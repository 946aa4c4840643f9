"""Logging in and staying so, against a running server: tokens, bindings, clocks, and what becomes of bulk work."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conftest import ADMIN, ANN, mail_of
from http_peer import Reply, Seen, peer, refusal, rows
from mimeportal.credentials import Credentials
from mimeportal.errors import AuthenticationError, ConfigurationError, UnavailableError, UsageError
from mimeportal.holds import HoldFilter
from mimeportal.portal import Portal
from mimeportal.retry import Policy
from mimeportal.transport_http import HttpTransport
from mimeportal.wire import REQUEST_ID
from mimeportal_server import apps, passwords, people
from served import Served, serving

PASSWORD = "Correct-horse-7"


class World:
    """A running server, and portals opened on it as an app or as ann, by the lab's clock."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.lab = served.lab
        self.url = served.server.http_url
        self.elapsed = 0.0  # of the client's monotonic clock
        self._open: list[Portal] = []

    @property
    def app2(self) -> Credentials:
        return Credentials("app2", client_id=self.served.app.client_id, client_secret=self.served.app.client_secret)

    @property
    def app1(self) -> Credentials:
        app = self.served.app
        return Credentials(
            "app1", app_id=app.app_id, app_key=app.app_key, access_key=app.access_key, secret_key=app.secret_key
        )

    def ann(self, address: str = ANN, **keys: str) -> Credentials:
        """Ann's keys of a log-in with her password, kept without it; or somebody else's."""
        with self.client(None) as portal:
            app, row = portal.auth.app(), portal.auth.login(address, PASSWORD)
        known = {"access_key": row.access_key, "secret_key": row.secret_key, **keys}
        return Credentials("person", app_id=app.app_id, app_key=app.app_key, **known)

    def client(self, credentials: Credentials | None, *, user: str | None = None, **options: Any) -> Portal:
        policy = Policy(sleep=lambda _seconds: None)
        settings = {"policy": policy, "wall": lambda: self.lab.time, "monotonic": lambda: self.elapsed, **options}
        self._open.append(Portal(HttpTransport(self.url, credentials=credentials, user=user, **settings)))
        return self._open[-1]

    def count(self, operation: str) -> int:
        return len(self.served.seen(operation))

    def close(self) -> None:
        for portal in self._open:
            portal.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serving(tmp_path / "home", faults=True) as served:
        portal = served.lab.server
        for address in (ANN, ADMIN):
            with portal.database.read() as tx:
                caller = people.caller_of(tx, address, "test")
            assert caller is not None
            passwords.change(portal, caller, None, PASSWORD, peer="", request_id="")
        world = World(served)
        yield world
        world.close()


def at_once(call: Callable[[], Any], times: int = 8) -> list[Any]:
    with ThreadPoolExecutor(times) as pool:
        return [future.result() for future in [pool.submit(call) for _ in range(times)]]


# -- tokens of API 2.0 -----------------------------------------------------------------------------------------------


def test_eight_threads_fetch_one_token(world: World) -> None:
    portal = world.client(world.app2)
    at_once(portal.account.show)
    assert (world.count("auth.token"), world.count("account.show")) == (1, 8)
    assert not portal.is_person


def test_a_token_is_fetched_again_a_minute_before_its_end(world: World) -> None:
    portal = world.client(world.app2)
    portal.account.show()
    world.elapsed += 1_799 - 61
    portal.account.show()
    assert world.count("auth.token") == 1
    world.elapsed += 2
    at_once(portal.account.show)
    assert world.count("auth.token") == 2
    assert {entry["status"] for entry in world.served.seen("account.show")} == {200}


def test_a_token_that_ended_unseen_is_fetched_again_once(world: World) -> None:
    portal = world.client(world.app2)
    portal.account.show()
    world.lab.time += 1_800  # the portal's clock alone
    at_once(portal.account.show)
    assert world.count("auth.token") == 2


def test_wrong_client_credentials(world: World) -> None:
    portal = world.client(Credentials("app2", client_id="nobody", client_secret="wrong-secret"))
    with pytest.raises(AuthenticationError, match="Client credentials are invalid") as told:
        portal.account.show()
    assert told.value.code == "InvalidClientIdentifier"
    assert "mimeportal auth login" in told.value.remedy
    assert "wrong-secret" not in f"{told.value.what} {told.value.why} {told.value.remedy}"
    assert (world.count("auth.token"), world.count("account.show")) == (1, 0)


@pytest.mark.parametrize("code", ["token_expired", "InvalidClientIdentifier", "Unauthorized Request"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_gateway_that_refuses_a_good_token_is_asked_once_more(code: str, times: int) -> None:
    """mimecast-api-core 3.3: `InvalidClientIdentifier` comes for good tokens too, and passes."""
    refused = 0

    def answer(seen: Seen) -> Reply:
        nonlocal refused
        if seen.path == "/oauth/token":
            tokens.append(f"token-{len(tokens)}")
            return Reply(body=json.dumps({"access_token": tokens[-1], "expires_in": 1799}).encode())
        refused += 1
        if refused <= times:
            return Reply(401, json.dumps({"fail": [{"code": code, "message": "no"}]}).encode())
        return rows({"accountCode": "C1"})

    tokens: list[str] = []
    credentials = Credentials("app2", client_id="client", client_secret="secret")
    with peer(answer) as there, Portal(HttpTransport(there.url, credentials=credentials)) as portal:
        if times == 1:
            assert portal.account.show().account_code == "C1"
        else:
            with pytest.raises(AuthenticationError) as told:
                portal.account.show()
            assert told.value.code == code
    used = [seen.headers["authorization"] for seen in there.seen if seen.path != "/oauth/token"]
    assert used == ["Bearer token-0", "Bearer token-1"]


def test_a_log_in_that_does_not_come_about_leaves_the_call_unsent() -> None:
    """Whatever became of the token: an act was not tried, and must not be looked for."""
    from mimeportal.errors import LostAnswerError
    from mimeportal.holds import contract

    credentials = Credentials("app2", client_id="client", client_secret="secret")
    policy = Policy(sleep=lambda _seconds: None)
    with (
        peer(lambda _seen: refusal("gone", 502)) as there,
        Portal(HttpTransport(there.url, credentials=credentials, policy=policy)) as portal,
        pytest.raises(UnavailableError) as told,
    ):
        portal.session.call(contract.RELEASE, [contract.ReleaseItem(id="an-id")])
    assert not isinstance(told.value, LostAnswerError)
    assert there.paths() == ["/oauth/token"] * policy.attempts


# -- bindings of API 1.0 ---------------------------------------------------------------------------------------------


def test_every_call_is_signed_anew(world: World) -> None:
    portal = world.client(world.app1)
    at_once(portal.account.show)
    ids = [entry["request_id"] for entry in world.served.seen("account.show")]
    assert len(set(ids)) == 8
    assert {entry["status"] for entry in world.served.seen("account.show")} == {200}
    assert not portal.is_person


def test_a_person_s_own_log_in(world: World) -> None:
    world.lab.receive(mail_of())
    portal = world.client(world.ann(), user=ANN)
    assert portal.is_person
    assert [hold.to_address for hold in portal.holds.list()] == [ANN]
    assert portal.account.whoami().email_address == ANN


def test_an_expired_binding_is_renewed_once_for_all(world: World) -> None:
    portal = world.client(world.ann(password=PASSWORD), user=ANN)
    portal.account.whoami()
    assert world.count("auth.login") == 1
    world.lab.time += 13 * 3_600
    at_once(portal.account.whoami)
    assert world.count("auth.login") == 2
    world.lab.time += 13 * 3_600
    portal.account.whoami()
    assert world.count("auth.login") == 3


def test_an_expired_binding_without_a_password(world: World) -> None:
    portal = world.client(world.ann(), user=ANN)
    world.lab.time += 13 * 3_600
    with pytest.raises(AuthenticationError, match="The log-in has expired") as told:
        portal.account.whoami()
    assert told.value.status == 418
    assert "mimeportal auth login" in told.value.remedy


def test_a_password_that_no_longer_holds(world: World) -> None:
    portal = world.client(world.ann(password="Another-one-8"), user=ANN)
    world.lab.time += 13 * 3_600
    with pytest.raises(AuthenticationError):
        portal.account.whoami()
    assert world.count("account.whoami") == 1


def test_a_password_alone_makes_a_binding_and_ends_it(world: World) -> None:
    portal = world.client(Credentials("person", password=PASSWORD), user=ANN)
    at_once(portal.account.whoami)
    assert world.count("auth.login") == 1
    portal.close()
    portal.close()
    assert [entry["status"] for entry in world.served.seen("auth.logout")] == [200]


def test_a_binding_that_was_given_is_left_alone(world: World) -> None:
    keys = world.ann()
    with world.client(keys, user=ANN) as portal:
        portal.account.whoami()
    assert world.count("auth.logout") == 0
    with world.client(keys, user=ANN) as portal:
        portal.auth.logout(keys.access_key)
        with pytest.raises(AuthenticationError):
            portal.account.whoami()


def test_whose_password_must_be_known(world: World) -> None:
    portal = world.client(Credentials("person", password=PASSWORD))
    with pytest.raises(AuthenticationError, match="Nobody is logged in"):
        portal.account.whoami()


def test_what_logging_in_brings_shows_no_secret(world: World) -> None:
    portal = world.client(None)
    app, row = portal.auth.app(), portal.auth.login(ANN, PASSWORD)
    token = portal.auth.token(world.served.app.client_id, world.served.app.client_secret)
    shown = f"{app!r} {row!r} {token!r}"
    for secret in (app.app_key, row.access_key, row.secret_key, token.access_token):
        assert secret not in shown


def test_mimecast_wants_an_application() -> None:
    with (
        Portal(HttpTransport("https://eu-api.mimecast.com")) as portal,
        pytest.raises(ConfigurationError, match=r"No application of API 1\.0") as told,
    ):
        portal.auth.discover(ANN)
    assert "MIMEPORTAL_APP_ID" in told.value.remedy


# -- clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(-20, "20 minutes behind"), (25, "25 minutes ahead of"), (-600, "10 hours behind"), (9_000, "6 days ahead of")],
)
def test_a_wrong_clock_is_told_in_words(minutes: int, words: str, world: World) -> None:
    portal = world.client(world.app1, wall=lambda: world.lab.time + minutes * 60)
    with pytest.raises(AuthenticationError) as told:
        portal.account.show()
    assert f"The clock of this machine is {words} the portal's" in told.value.why
    assert "err_xdk_invalid_signature" in told.value.why


def test_a_right_clock_is_not_suspected(world: World) -> None:
    wrong = Credentials(
        "app1", app_id=world.app1.app_id, app_key="x", access_key=world.app1.access_key, secret_key="c2VjcmV0"
    )
    with pytest.raises(AuthenticationError) as told:
        world.client(wrong).account.show()
    assert "clock" not in told.value.why


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 99 Nov 2026 09:30:00 GMT"])
def test_a_date_that_is_none_says_nothing(date: str) -> None:
    keys = Credentials("app1", app_id="a", app_key="k", access_key="b", secret_key="c2VjcmV0")
    with peer(lambda _seen: refusal("err_xdk_invalid_signature", 401, date=date)) as there:
        there.now = 0
        with Portal(HttpTransport(there.url, credentials=keys)) as portal, pytest.raises(AuthenticationError) as told:
            portal.account.show()
    assert told.value.code == "err_xdk_invalid_signature"


# -- one portal under each API ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", [None, "api1", "api2"])
@pytest.mark.parametrize("kind", ["app1", "app2"])
def test_the_same_calls_whatever_the_log_in(kind: str, api: str | None, world: World) -> None:
    for number in range(3):
        world.lab.receive(mail_of(subject=f"Mail {number}"))
    portal = world.client(getattr(world, kind), api=api)
    first, second, third = portal.holds.list()
    assert b"".join(portal.holds.download(first.id)).startswith(b"From:")
    assert portal.holds.release([first.id, second.id]).totals == {"done": 2}
    assert portal.holds.reject([third.id]).totals == {"done": 1}
    assert portal.holds.release([first.id]).totals == {"already": 1}
    assert sorted(row.status for row in portal.holds.log()) == ["rejected", "released", "released"]


def test_an_api_that_is_none(world: World) -> None:
    with pytest.raises(UsageError, match="no API"):
        world.client(world.app1, api="api3")


# -- bulk work when things go wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize("api", [None, "api2"])
def test_each_message_is_released_exactly_once_whatever_fails(api: str | None, world: World) -> None:
    for number in range(60):
        world.lab.receive(mail_of(subject=f"Mail {number}"))
    # On Mimecast only a log of who released tells what became of a lost answer: it names people.
    portal = world.client(world.ann(ADMIN), user=ADMIN, api=api)
    with portal.holds.plan("release", filter=HoldFilter(queue="admin")) as plan:
        assert len(plan) == 60
        operation = "holds.release" if api else "holds.decide"
        kinds = ["reset_before", "reset_after", "cut", "bad_json"]
        broken = [{"operation": operation, "kind": kind} for kind in kinds]
        broken += [{"operation": operation, "kind": "status", "status": status} for status in (500, 503)]
        broken += [{"operation": operation, "kind": "status", "status": 503, "retryable": True}]
        broken += [{"operation": operation, "kind": "quota", "milliseconds": 10}]
        looking = ("holds.list", "holds.log") if api else ("holds.states", "holds.states")
        broken += [
            {"operation": name, "kind": kind} for name, kind in zip(looking, ("cut", "reset_before"), strict=True)
        ]
        world.served.spoil(*broken)
        result = plan.run(batch_size=4, concurrency=8)
    assert result.totals == {"done": 60}
    assert list(portal.holds.list(queue="admin")) == []
    released = Counter(row.subject for row in portal.holds.log())
    assert sorted(released.values()) == [1] * 60
    assert (
        world.served.ask("/lab/faults", None, {"x-lab-token": world.served.lab_token}, method="GET").octets
        == b'{"faults":[]}'
    )


def test_no_call_is_wasted_on_a_quota(world: World) -> None:
    """8 threads, 12 calls a second: after the first 429 there is none."""
    for number in range(20):
        world.lab.receive(mail_of(subject=f"Mail {number}"))
    portal = world.client(world.app2, monotonic=lambda: 0.0)
    token = {"x-lab-token": world.served.lab_token}
    with portal.holds.plan("release", filter=HoldFilter(queue="admin")) as plan:
        world.served.ask("/lab/quota", {"calls": 12, "seconds": 1}, token, method="PUT")
        world.served.spoil({"operation": "holds.decide", "kind": "quota", "milliseconds": 300})
        result = plan.run(batch_size=1, concurrency=8)
    assert result.totals == {"done": 20}, result.stopped
    statuses = Counter(entry["status"] for entry in world.served.seen("holds.decide"))
    assert statuses == {200: 20, 429: 1}


def test_request_ids_are_those_of_the_last_attempt(world: World) -> None:
    portal = world.client(world.app1)
    world.served.spoil({"operation": "account.show", "kind": "status", "status": 503, "times": 5})
    with pytest.raises(UnavailableError) as told:
        portal.account.show()
    seen = [entry["request_id"] for entry in world.served.seen("account.show")]
    assert len(seen) == len(set(seen)) == 5
    assert told.value.request_id == seen[-1]
    assert REQUEST_ID == "x-mc-req-id"


def test_apps_of_a_home_are_kept_apart(world: World) -> None:
    """Keys of one app do not go with the id of another."""
    with world.lab.server.database.write() as tx:
        _, other = apps.add(world.lab.server, tx, "other", role="user", scopes=(), content_view=False)
    mixed = Credentials(
        "app1",
        app_id=other.app_id,
        app_key=other.app_key,
        access_key=world.app1.access_key,
        secret_key=world.app1.secret_key,
    )
    with pytest.raises(AuthenticationError):
        world.client(mixed).account.show()
