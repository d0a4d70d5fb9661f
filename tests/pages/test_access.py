"""Does nobody get in who should not, and does nobody see what is another's?"""

from __future__ import annotations

import argparse
import dataclasses
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
import pytest
from dash import Dash
from flask.testing import FlaskClient

from pages._access import attempts, guard, options, origins, sign_in
from pages._access.options import AccessSettings
from pages._shared import access, passes, studio
from pages._shared.studio import Studio
from scetm_core import accounts, keys
from scetm_core.accounts import Accounts
from scetm_core.config import run_config_from_flat
from scetm_core.errors import AccessError, RunError
from scetm_core.runs import Run
from tests.pages.by_hand import COLUMNS, N_TOPICS, finish, planted_data, result_of
from tests.pages.test_hostile_callbacks import ROUTE, messages

PASSWORDS = {"alice": "correct horse alice", "bob": "correct horse bob"}
TOKEN = "a-token-of-sixteen"
PAGE = {"Accept": "text/html"}
SECRET = "Bobs unpublished tumour"
ROOT = Path(__file__).parents[2]

SignIn = Callable[..., FlaskClient]


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords of tests need no guarding."""
    monkeypatch.setattr(accounts, "METHOD", "scrypt:256:8:1")


@pytest.fixture
def guarded(own_studio: Studio, app: Dash, monkeypatch: pytest.MonkeyPatch) -> Studio:
    """The app with two accounts, the first one an admin."""
    for name, password in PASSWORDS.items():
        Accounts(own_studio.home).add(name, password)
    shown = dataclasses.replace(own_studio, has_accounts=True)
    studio.configure(shown)
    monkeypatch.setitem(app.server.extensions, guard.EXTENSION, guard.Guard(AccessSettings()))
    return shown


@pytest.fixture
def with_token(own_studio: Studio, app: Dash, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app that lets in whoever knows the token."""
    monkeypatch.setitem(app.server.extensions, guard.EXTENSION, guard.Guard(AccessSettings(token=TOKEN)))


@pytest.fixture
def stranger(app: Dash) -> FlaskClient:
    return app.server.test_client()


def form_of(client: FlaskClient, address: str = sign_in.PAGE) -> str:
    """The secret in a form of this session."""
    found = re.search(r'name="form" value="([^"]+)"', client.get(address).get_data(as_text=True))
    assert found is not None
    return found[1]


def try_to_sign_in(client: FlaskClient, name: str, password: str, *, target: str = "/") -> Any:
    sent = {"name": name, "password": password, "form": form_of(client)}
    return client.post(sign_in.PAGE, query_string={"next": target}, data=sent)


@pytest.fixture
def signed_in(app: Dash) -> SignIn:
    def enter(name: str) -> FlaskClient:
        client = app.server.test_client()
        assert try_to_sign_in(client, name, PASSWORDS[name]).status_code == 303
        return client

    return enter


@pytest.fixture
def bobs_run(guarded: Studio, data_dir: Path) -> Run:
    """A finished run of bob's, with a name that nobody else may read."""
    bob = guarded.of_user("bob")
    bob.make_folders()
    flat = {"name": SECRET, "path": str(data_dir / "planted.h5ad"), **COLUMNS, "n_topics": N_TOPICS, "max_steps": 30}
    config = run_config_from_flat(flat)
    run = Run.create(bob.runs_folder / "bobs-run", config)
    finish(run, result_of(planted_data(), config))
    return run


# ---- strangers ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("guarded")
def test_every_route_but_the_door_is_closed_to_strangers(app: Dash, stranger: FlaskClient) -> None:
    rules = [rule for rule in app.server.url_map.iter_rules() if not rule.rule.startswith("/sign-in")]
    assert len(rules) > 15
    for rule in rules:
        address = re.sub(r"<[^>]+>", "x", rule.rule)
        for method in sorted(rule.methods & {"GET", "POST"}):
            answer = stranger.open(address, method=method)
            if address in guard.OPEN_TO_ALL:
                assert answer.status_code == 200 or address != "/health"
                continue
            assert answer.status_code == 401, (method, address)
            assert answer.json == {"error": "Nobody is signed in. Load the page again to sign in."}
    assert stranger.get("/health").json == {"status": "ok"}


@pytest.mark.usefixtures("guarded")
def test_a_stranger_is_led_to_the_door_and_back_to_where_it_wanted(stranger: FlaskClient) -> None:
    answer = stranger.get("/cells?run=x&color=y", headers=PAGE)
    assert answer.headers["Location"] == "/sign-in?next=%2Fcells%3Frun%3Dx%26color%3Dy"
    answer = try_to_sign_in(stranger, "alice", PASSWORDS["alice"], target="/cells?run=x&color=y")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/cells?run=x&color=y")
    assert stranger.get("/", headers=PAGE).status_code == 200
    assert "version" in stranger.get("/health").json


FIRST = """
import sys
from pathlib import Path
from app import create_app
from pages._shared.studio import Studio

app = create_app(Studio(home=Path(sys.argv[1])))
visitor = app.server.test_client()
print(visitor.get("/sign-in").status_code, len(app.callback_map) > 100)
"""


def test_the_very_first_to_come_may_be_a_stranger(tmp_path: Path) -> None:
    """In a process of its own: Dash makes itself ready at the first request, once."""
    Accounts(tmp_path).add("alice", PASSWORDS["alice"])
    command = [sys.executable, "-c", FIRST, str(tmp_path)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert told.stdout.split() == ["200", "True"], told.stderr


@pytest.mark.parametrize(
    "target", ["//evil.org", "https://evil.org/x", "/\\evil.org", "javascript:alert(1)", "x", "", "/a\nb", "/sign-out"]
)
def test_after_signing_in_nobody_lands_on_another_site(target: str) -> None:
    assert sign_in.safe_target(target) == "/"


@pytest.mark.parametrize("name", ["alice", "nobody", "'><script>", "x" * 5000, "../bob", ""])
def test_a_wrong_password_and_an_unknown_name_are_told_alike(
    name: str, guarded: Studio, stranger: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    import werkzeug.security

    checked: list[str] = []
    right = werkzeug.security.check_password_hash
    monkeypatch.setattr(
        werkzeug.security, "check_password_hash", lambda known, given: checked.append(known) or right(known, given)
    )
    answer = try_to_sign_in(stranger, name, "wrong password")
    assert answer.status_code == 401
    text = answer.get_data(as_text=True)
    assert "That name and that password do not belong together" in text
    assert "<script>" not in text
    assert len(checked) == 1  # a hash is worked out whoever it is
    assert checked[0].startswith("scrypt:")


@pytest.mark.usefixtures("guarded", "minute")
def test_too_many_tries_are_refused_in_words_even_with_the_right_password(stranger: FlaskClient) -> None:
    for _ in range(attempts.PER_PAIR):
        assert try_to_sign_in(stranger, "alice", "wrong password").status_code == 401
    answer = try_to_sign_in(stranger, "alice", PASSWORDS["alice"])
    assert answer.status_code == 429
    assert "Wait a minute" in answer.get_data(as_text=True)
    assert try_to_sign_in(stranger, "bob", PASSWORDS["bob"]).status_code == 303


@pytest.fixture
def minute(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The minute that tries are counted in; it passes when a test says so."""
    now = [1000]
    monkeypatch.setattr(attempts, "_minute", lambda: now[0])
    return now


@pytest.mark.usefixtures("minute")
def test_tries_are_counted_by_name_and_by_address(tmp_path: Path) -> None:
    counted = attempts.Attempts(tmp_path)
    for number in range(attempts.PER_NAME):
        assert counted.may_try(f"10.0.0.{number}", "alice")
    assert not counted.may_try("10.9.9.9", "alice")
    for number in range(attempts.PER_ADDRESS):
        assert counted.may_try("10.8.8.8", f"name-{number}")
    assert not counted.may_try("10.8.8.8", "another")
    assert counted.may_try("10.7.7.7", "another")


@pytest.mark.usefixtures("minute")
def test_tries_that_are_refused_take_none_from_others(tmp_path: Path) -> None:
    counted = attempts.Attempts(tmp_path)
    tried = [counted.may_try("10.6.6.6", "alice") for _ in range(100)]
    assert tried == [True] * attempts.PER_PAIR + [False] * (100 - attempts.PER_PAIR)
    assert counted.may_try("10.0.0.1", "alice")


@pytest.mark.usefixtures("minute")
def test_from_where_somebody_has_signed_in_before_strangers_keep_nobody_out(tmp_path: Path) -> None:
    counted = attempts.Attempts(tmp_path)
    counted.succeeded("10.0.0.1", "alice")
    for number in range(100):
        counted.may_try(f"10.6.6.{number}", "alice")
    assert not counted.may_try("10.0.0.2", "alice")
    assert [counted.may_try("10.0.0.1", "alice") for _ in range(attempts.PER_PAIR + 1)][-2:] == [True, False]


def test_nobody_is_kept_out_for_longer_than_a_minute(
    tmp_path: Path, minute: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = attempts.Attempts(tmp_path)
    monkeypatch.setattr(attempts.diskcache.Cache, "add", lambda *_, **__: False)  # it expired before it was counted up
    assert not all(counted.may_try("10.6.6.6", "alice") for _ in range(attempts.PER_NAME + 1))
    minute[0] += 1
    assert counted.may_try("10.6.6.6", "alice")


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("10.0.0.1", "10.0.0.2", False),
        ("", "", True),
    ],
)
@pytest.mark.usefixtures("minute")
def test_a_network_of_ipv6_is_one_place(first: str, second: str, is_same: bool, tmp_path: Path) -> None:
    counted = attempts.Attempts(tmp_path)
    for _ in range(attempts.PER_PAIR):
        assert counted.may_try(first, "alice")
    assert counted.may_try(second, "alice") is not is_same


@pytest.mark.usefixtures("guarded")
def test_strangers_send_no_more_than_a_form(stranger: FlaskClient) -> None:
    form = form_of(stranger)
    answer = stranger.post(sign_in.PAGE, data={"form": form, "name": "x" * guard.MAX_FROM_STRANGERS})
    assert answer.status_code == 413


@pytest.mark.usefixtures("guarded")
def test_a_form_that_another_site_has_filled_in_signs_nobody_in(stranger: FlaskClient) -> None:
    sent = {"name": "alice", "password": PASSWORDS["alice"]}
    assert stranger.post(sign_in.PAGE, data=sent).status_code == 400
    assert stranger.post(sign_in.PAGE, data={**sent, "form": form_of(stranger) + "x"}).status_code == 400
    assert stranger.get("/", headers=PAGE).status_code == 303


# ---- sessions -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("guarded")
def test_signing_out_ends_the_session_also_of_a_copied_cookie(app: Dash, signed_in: SignIn) -> None:
    client = signed_in("alice")
    cookie = client.get_cookie("scetm_session_8050")
    thief = app.server.test_client()
    thief.set_cookie("scetm_session_8050", cookie.value)
    assert thief.get("/", headers=PAGE).status_code == 200
    assert client.post(sign_in.SIGN_OUT, data={"form": "wrong"}).status_code == 200  # asks first
    assert client.get("/", headers=PAGE).status_code == 200
    answer = client.post(sign_in.SIGN_OUT, data={"form": form_of(client, sign_in.SIGN_OUT)})
    assert answer.headers["Location"] == sign_in.PAGE
    assert client.get("/", headers=PAGE).status_code == 303
    assert thief.get("/", headers=PAGE).status_code == 303


def test_another_password_ends_all_sessions_and_so_does_removal(guarded: Studio, signed_in: SignIn) -> None:
    alice, bob = signed_in("alice"), signed_in("bob")
    Accounts(guarded.home).change_password("alice", "quite another one")
    assert alice.get("/", headers=PAGE).status_code == 303
    assert bob.get("/", headers=PAGE).status_code == 200
    Accounts(guarded.home).remove("bob")
    assert bob.get("/", headers=PAGE).status_code == 303


def test_a_password_is_changed_by_who_knows_it(guarded: Studio, signed_in: SignIn) -> None:
    here, elsewhere = signed_in("bob"), signed_in("bob")

    def change(**sent: str) -> Any:
        return here.post(sign_in.PASSWORD, data={"form": form_of(here, sign_in.PASSWORD), **sent})

    assert change(password="wrong", new="a better password", again="a better password").status_code == 401
    assert change(password=PASSWORDS["bob"], new="a better password", again="a bitter password").status_code == 400
    short = change(password=PASSWORDS["bob"], new="short", again="short")
    assert "needs 10 to 1,000 characters" in short.get_data(as_text=True)
    assert change(password=PASSWORDS["bob"], new="a better password", again="a better password").status_code == 303
    assert here.get("/", headers=PAGE).status_code == 200
    assert elsewhere.get("/", headers=PAGE).status_code == 303
    assert Accounts(guarded.home).check("bob", "a better password") is not None


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(("days", "status"), [(6.9, 200), (7.1, 303)])
def test_a_session_ends_after_a_week(
    days: float, status: int, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = signed_in("alice")
    with client.session_transaction() as kept:
        kept["since"] = time.time() - days * 86_400
    assert client.get("/", headers=PAGE).status_code == status


@pytest.mark.usefixtures("guarded")
def test_cookies_are_kept_from_scripts_and_other_sites_and_off_plain_http(stranger: FlaskClient) -> None:
    plain = stranger.get(sign_in.PAGE).headers["Set-Cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=Lax" in plain
    assert "Secure" not in plain
    stranger.delete_cookie("scetm_session_8050")
    assert "Secure" in stranger.get(sign_in.PAGE, base_url="https://localhost").headers["Set-Cookie"]


def test_the_secret_that_signs_sessions_stays_and_is_private(guarded: Studio) -> None:
    from scetm_core.accounts import signing_secret

    first = signing_secret(guarded.home)
    assert signing_secret(guarded.home) == first
    file = guarded.home / keys.SECRET_FILE
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    with pytest.raises(AccessError, match="can be read by others"):
        signing_secret(guarded.home)


# ---- one user and another -----------------------------------------------------------------------------------------


def test_each_user_sees_own_runs_only(bobs_run: Run, signed_in: SignIn) -> None:
    alice, bob = signed_in("alice"), signed_in("bob")
    asked = {"text": "topic 1", "run": bobs_run.id}
    assert bob.get("/search", query_string=asked).json["groups"]
    assert "There is no run called 'bobs-run'" in alice.get("/search", query_string=asked).json["note"]
    assert alice.get("/search", query_string={"text": "topic 1"}).json["groups"] == []
    assert bob.get(f"/publish/{bobs_run.id}/recipe.py").status_code == 200
    assert alice.get(f"/publish/{bobs_run.id}/recipe.py").status_code == 404
    assert alice.get(f"/export/board/{bobs_run.id}.svg").status_code == 404


def test_no_callback_tells_one_user_of_anothers_run(
    bobs_run: Run,
    guarded: Studio,
    app: Dash,
    signed_in: SignIn,
    page_module: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scetm_core.jobs.spawn", lambda *_: None)
    for page in ("home", "data"):
        monkeypatch.setattr(page_module(page), "write_demo", lambda _: {})
    alice = signed_in("alice")
    before = sorted(path for path in guarded.of_user("bob").home.rglob("*"))
    told = 0
    for message in {one["output"]: one for one in messages(app, bobs_run.id, slyly=True)}.values():
        for place in [*message["inputs"], *message["state"]]:
            if isinstance(place, dict) and place["id"] == "active-run":
                place["value"] = bobs_run.id
        text = alice.post(ROUTE, json=message).get_data(as_text=True)
        assert SECRET not in text, message["output"]
        told += "There is no run called" in text
    assert told > 50
    assert sorted(path for path in guarded.of_user("bob").home.rglob("*")) == before


def test_uploads_of_the_same_name_do_not_meet(guarded: Studio, signed_in: SignIn, data_dir: Path) -> None:
    content = (data_dir / "planted.h5ad").read_bytes()
    for name in PASSWORDS:
        answer = signed_in(name).post("/upload", query_string={"name": "mine.h5ad"}, data=content)
        assert answer.json == {"ref": "uploads/mine.h5ad"}
        assert (guarded.home / "users" / name / "uploads" / "mine.h5ad").is_file()
    with access.acting_for("alice"):
        assert studio.current().catalog().resolve("uploads/mine.h5ad").is_relative_to(guarded.home / "users" / "alice")
        assert studio.current().catalog().resolve("lab/planted.h5ad").is_file()  # everybody's


def test_an_input_that_was_swapped_for_a_link_of_another_user_is_not_read(
    make_shown_run: Callable[..., Run], data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages._shared import colors

    chosen, gene = tmp_path / "chosen.h5ad", planted_data().var_names[0]
    chosen.write_bytes((data_dir / "planted.h5ad").read_bytes())
    run = make_shown_run(path=str(chosen))
    finish(run, result_of(planted_data(), run.config))
    chosen.rename(tmp_path / "secret.h5ad")
    chosen.symlink_to("secret.h5ad")
    assert len(colors.colored_frame(run.id, gene))
    colors._expression_of.cache_clear()
    monkeypatch.setattr("scetm_core.links._trusted", lambda: {123_456_789})
    assert "which another user has made" in colors.colored_frame(run.id, gene).attrs["reason"]


def test_what_is_remembered_is_remembered_for_one_user(guarded: Studio) -> None:
    calls: list[str] = []

    @studio.remembered(maxsize=4)
    def result_of_run(run_id: str) -> str:
        calls.append(run_id)
        return f"{run_id} of {access.current_user()}"

    for name in ("alice", "bob", "alice"):
        with access.acting_for(name):
            assert result_of_run("same-name") == f"same-name of {name}"
    assert len(calls) == 2


def test_outside_a_request_nobody_sees_anything_until_it_is_said_for_whom(bobs_run: Run) -> None:
    with pytest.raises(AccessError, match="Nobody is signed in"):
        studio.current()
    with access.acting_for("bob"):
        ticket = passes.pass_for(bobs_run)
    assert passes.run_with(ticket).path == bobs_run.path
    with access.acting_for("alice"), pytest.raises(RunError, match="There is no run called"):
        passes.pass_for(bobs_run)
    with pytest.raises(AccessError, match="was not given out"):
        passes.run_with(ticket[:-2])


def test_the_queue_knows_the_runs_of_everybody(guarded: Studio, bobs_run: Run) -> None:
    assert bobs_run.path.parent in guarded.all_runs_folders()
    assert guarded.runs_folder in guarded.all_runs_folders()


def test_an_admin_is_told_from_a_user(app: Dash, guarded: Studio, signed_in: SignIn) -> None:
    def asks(client: FlaskClient) -> tuple[str | None, bool, bool]:
        with client:
            client.get("/health")
            return access.current_user(), access.is_admin(), access.may_watch()

    assert asks(signed_in("alice")) == ("alice", True, True)
    assert asks(signed_in("bob")) == ("bob", False, False)
    assert asks(app.server.test_client()) == (None, False, False)


# ---- the token ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("with_token")
def test_the_token_lets_in_by_address_by_form_and_by_header(app: Dash) -> None:
    client = app.server.test_client()
    assert client.get("/", headers=PAGE).status_code == 303
    answer = client.get(f"/cells?run=x&token={TOKEN}", headers=PAGE)
    assert answer.headers["Location"] == "/cells?run=x"  # it does not stay in the address
    assert client.get("/", headers=PAGE).status_code == 200
    by_form = app.server.test_client()
    assert try_to_sign_in(by_form, "", "wrong" * 5).status_code == 401
    assert try_to_sign_in(by_form, "", TOKEN).status_code == 303
    script = app.server.test_client()
    assert script.get("/search", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert script.get("/search", headers={"Authorization": "Bearer x"}).status_code == 401
    assert script.get("/?token=x", headers=PAGE).headers["Location"].startswith(sign_in.PAGE)


@pytest.mark.usefixtures("with_token", "minute")
@pytest.mark.parametrize("way", ["header", "address"])
def test_who_shows_wrong_tokens_is_not_listened_to_for_a_while(way: str, app: Dash) -> None:
    def may_come_in(token: str, address: str = "10.6.6.6") -> bool:
        sent = (
            {"headers": {"Authorization": f"Bearer {token}"}} if way == "header" else {"query_string": {"token": token}}
        )
        answer = app.server.test_client().get("/search", environ_overrides={"REMOTE_ADDR": address}, **sent)
        return answer.status_code == 200 or answer.headers.get("Location") == "/search"

    assert all(may_come_in(TOKEN) for _ in range(attempts.PER_ADDRESS + 1))  # right ones are not counted
    for number in range(attempts.PER_ADDRESS):
        assert not may_come_in(f"a-guess-{number}")
    assert not may_come_in(TOKEN)
    assert may_come_in(TOKEN, "10.0.0.1")


def test_with_accounts_the_token_opens_the_numbers_only(
    guarded: Studio, app: Dash, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.server.extensions, guard.EXTENSION, guard.Guard(AccessSettings(token=TOKEN)))
    client, header = app.server.test_client(), {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/search", headers=header).status_code == 401
    with client:
        assert client.get("/metrics", headers=header).status_code != 401
        assert access.may_watch()
        assert not access.is_in()


@pytest.mark.parametrize(
    ("address", "header", "may"),
    [("127.0.0.1", {}, True), ("10.1.1.1", {}, False), ("127.0.0.1", {"X-Forwarded-For": "10.1.1.1"}, False)],
)
def test_without_sign_in_numbers_are_for_this_machine(
    address: str, header: dict[str, str], may: bool, app: Dash
) -> None:
    with app.server.test_client() as client:
        client.get("/health", headers=header, environ_overrides={"REMOTE_ADDR": address})
        assert access.may_watch() is may


# ---- hosts and origins --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True), ("localhost:8050", True), ("127.0.0.1:9", True), ("[::1]:8050", True), ("10.2.3.4", True),
        ("studio.lab", True), ("STUDIO.lab.:80", True), ("evil.org", False), ("localhost.evil.org", False),
        ("127.0.0.1.evil.org", False), ("", False), ("user@localhost", False), ("[::1", False),
        ("evil.org:localhost", False),
    ],
)  # fmt: skip
def test_a_host_is_known_by_address_or_by_a_name_that_was_given(host: str, known: bool) -> None:
    names = origins.known_names(AccessSettings(host="0.0.0.0", allowed_hosts=("studio.lab",)))
    assert origins.is_known_host(host, names) is known


def test_a_rebound_name_is_refused_in_words(app: Dash) -> None:
    answer = app.server.test_client().get("/health", headers={"Host": "evil.org"})
    assert answer.status_code == 403
    assert "--allowed-host" in answer.json["error"]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({}, 400),
        ({"Origin": "http://localhost"}, 400),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, 400),
        ({"Referer": "http://localhost/cells"}, 400),
        ({"Origin": "http://evil.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost.evil.org"}, 403),
        ({"Referer": "http://evil.org/?localhost"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"}, 403),
        ({"Origin": "http://[::1"}, 403),
    ],
)
@pytest.mark.parametrize("route", [ROUTE, "/upload?name=x.txt", "/export/figure"])
def test_nothing_is_done_for_a_page_of_another_site(route: str, header: dict[str, str], status: int, app: Dash) -> None:
    answer = app.server.test_client().post(route, data=b"x", headers=header)
    assert answer.status_code == status
    assert answer.json["error"]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
    ],
)
def test_links_from_elsewhere_lead_here_and_nothing_is_embedded_there(
    header: dict[str, str], status: int, app: Dash
) -> None:
    assert app.server.test_client().get("/", headers={**PAGE, **header}).status_code == status


# ---- headers, sizes, errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["/", "/health", "/_dash-layout", "/assets/style.css", "/nowhere.x", "/publish/x/y", "/sign-in"]
)
def test_every_answer_says_what_a_page_may_do(address: str, app: Dash) -> None:
    answer = app.server.test_client().get(address)
    answer.close()
    found = answer.headers
    assert ("unsafe-eval" in found["Content-Security-Policy"]) is found["Content-Type"].startswith("text/html")
    scripts = re.search(r"script-src ([^;]*)", found["Content-Security-Policy"])
    assert scripts is None or "unsafe-inline" not in scripts[1]
    assert "frame-ancestors 'none'" in found["Content-Security-Policy"]
    assert found["X-Content-Type-Options"] == "nosniff"
    assert found["Referrer-Policy"] == "same-origin"
    assert found["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in found["Permissions-Policy"]


def test_every_inline_script_of_the_page_may_run_and_no_other(app: Dash) -> None:
    import base64
    import hashlib

    answer = app.server.test_client().get("/")
    inline = re.findall(r"<script(?![^>]*(?:src=|json))[^>]*>(.*?)</script>", answer.get_data(as_text=True), re.S)
    assert len(inline) > 10
    for text in inline:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in answer.headers["Content-Security-Policy"]


def test_a_callback_takes_no_long_body(app: Dash) -> None:
    body = b'{"output": "' + b"x" * guard.MAX_BODY + b'"}'
    answer = app.server.test_client().post(ROUTE, data=body, content_type="application/json")
    assert answer.status_code in (400, 413)
    assert answer.json["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"3", b'"x"', b"null", b"{}", b'{"output": 3}', b'{"output": "url.search"}', b"[" * 100_000,
        b'{"output": "home-runs.rowData", "inputs": [], "outputs": [], "changedPropIds": []}',
        b'{"output": "run-picker.data", "inputs": {}, "outputs": {}, "changedPropIds": 3}', b"\xff\xfe",
    ],
)  # fmt: skip
def test_a_message_of_another_form_is_refused_in_words(body: bytes, app: Dash) -> None:
    answer = app.server.test_client().post(ROUTE, data=body, content_type="application/json")
    assert answer.status_code == 400
    assert "Load it again" in answer.json["error"]


def test_a_defect_is_told_without_its_inside(app: Dash, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def break_down(**_: object) -> None:
        raise KeyError("/home/bob/secret")

    monkeypatch.setitem(app.server.view_functions, "publish", break_down)
    answer = app.server.test_client().get("/publish/x/y")
    assert answer.status_code == 500
    assert "bob" not in answer.get_data(as_text=True)
    mark = answer.json["error"].rstrip(".").split()[-1]
    assert mark in caplog.text
    assert "/home/bob/secret" in caplog.text


# ---- the command line of the server -------------------------------------------------------------------------------


def settled(home: Path, *arguments: str, data_dirs: tuple[Path, ...] = ()) -> AccessSettings:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8050)
    options.add_arguments(parser)
    return options.settle(parser.parse_args(arguments), home=home, data_dirs=data_dirs)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_on_this_machine_nobody_has_to_sign_in(host: str, tmp_path: Path) -> None:
    assert settled(tmp_path, "--host", host).token == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "myhost", ""])
def test_on_the_network_it_has_to_be_said_who_comes_in(host: str, tmp_path: Path) -> None:
    with pytest.raises(AccessError, match=r"account add .*--token auto.*--no-auth") as refused:
        settled(tmp_path, "--host", host)
    assert "\n" not in str(refused.value)
    assert settled(tmp_path, "--host", host, "--no-auth").host == host
    assert len(settled(tmp_path, "--host", host, "--token", "auto").token) > 30
    Accounts(tmp_path).add("alice", PASSWORDS["alice"])
    assert settled(tmp_path, "--host", host).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_behind_a_proxy_it_has_to_be_said_who_comes_in_whatever_the_address(host: str, tmp_path: Path) -> None:
    given = ("--host", host, "--behind-proxy")
    with pytest.raises(AccessError, match=r"through the proxy.*account add .*--token auto.*--no-auth"):
        settled(tmp_path, *given)
    assert settled(tmp_path, *given, "--no-auth").behind_proxy
    assert settled(tmp_path, *given, "--token", TOKEN).behind_proxy
    Accounts(tmp_path).add("alice", PASSWORDS["alice"])
    assert settled(tmp_path, *given).behind_proxy


@pytest.mark.parametrize("way", [(), ("--no-auth",), ("--token", TOKEN)])
def test_a_home_that_has_lost_its_accounts_is_not_opened_to_all(way: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / keys.USERS_FOLDER).mkdir()
    settled(tmp_path, *way)
    (tmp_path / keys.USERS_FOLDER / "alice").mkdir()
    with pytest.raises(AccessError, match=r"accounts\.json is gone.*account add NAME --home"):
        settled(tmp_path, *way)
    Accounts(tmp_path).add("alice", PASSWORDS["alice"])
    settled(tmp_path)


def test_the_token_comes_from_the_environment_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(options.TOKEN_VARIABLE, TOKEN)
    found = settled(tmp_path, "--host", "0.0.0.0")
    assert found.token == TOKEN
    assert options.address_to_open(found, with_token=True) == f"http://0.0.0.0:8050/?token={TOKEN}"


def test_contradictions_and_weak_tokens_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="16 plain characters"):
        settled(tmp_path, "--token", "short")
    with pytest.raises(AccessError, match="Leave out --no-auth, or the token"):
        settled(tmp_path, "--token", TOKEN, "--no-auth")
    Accounts(tmp_path).add("alice", PASSWORDS["alice"])
    with pytest.raises(AccessError, match="choose another --home"):
        settled(tmp_path, "--no-auth")
    for folder in (tmp_path.parent, tmp_path, tmp_path / "users"):
        with pytest.raises(AccessError, match="lie in each other"):
            settled(tmp_path, data_dirs=(folder,))


def test_a_proxy_is_believed_only_if_it_is_announced(app: Dash) -> None:
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.1.1.1", "X-Forwarded-Host": "evil.org"}
    with app.server.test_client() as client:
        client.get("/health", headers=forwarded)
        assert not flask.request.is_secure
        assert flask.request.remote_addr == "127.0.0.1"


@pytest.mark.usefixtures("guarded")
def test_the_header_says_who_is_signed_in_and_lets_them_leave(app: Dash, signed_in: SignIn) -> None:
    shown = signed_in("alice").get("/_dash-layout").get_data(as_text=True)
    assert "Signed in as alice, admin" in shown
    assert "sign-out" in shown
    assert "Signed in as bob" in signed_in("bob").get("/_dash-layout").get_data(as_text=True)
