"""Are accounts kept so that nobody else reads them, and is every mistake told in words?"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from scetm_core import accounts, keys
from scetm_core.__main__ import main
from scetm_core.accounts import Accounts, checked_name
from scetm_core.errors import AccessError

METHOD = accounts.METHOD
PASSWORD = "correct horse battery"


def run(home: Path, *arguments: str) -> int:
    return main(["account", *arguments, "--home", str(home)])


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords of tests need no guarding."""
    monkeypatch.setattr(accounts, "METHOD", "scrypt:256:8:1")


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password is piped in."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))


def test_passwords_are_hashed_and_the_file_is_private(tmp_path: Path) -> None:
    first = Accounts(tmp_path).add("alice", PASSWORD)
    second = Accounts(tmp_path).add("bob", PASSWORD)
    file = tmp_path / keys.ACCOUNTS_FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in file.read_text()
    assert first.password.startswith("scrypt:")
    assert first.password != second.password  # salted
    assert (first.is_admin, second.is_admin) == (True, False)


def test_a_try_costs_memory_and_time() -> None:
    assert METHOD == "scrypt:32768:8:1"  # as the app has it, before tests make it quick


def test_a_password_is_known_by_its_owner_only(tmp_path: Path) -> None:
    known = Accounts(tmp_path)
    known.add("alice", PASSWORD)
    assert known.check("alice", PASSWORD) is not None
    assert known.check("alice", PASSWORD + " ") is None
    assert known.check("bob", PASSWORD) is None
    assert known.check("alice", "") is None


def test_what_another_process_changes_is_seen_at_once(tmp_path: Path) -> None:
    server, command = Accounts(tmp_path), Accounts(tmp_path)
    command.add("alice", PASSWORD)
    known = server.find("alice")
    assert known is not None
    command.change_password("alice", "another password")
    changed = server.find("alice")
    assert changed is not None
    assert changed.stamp != known.stamp
    assert changed.is_admin
    command.remove("alice")
    assert server.find("alice") is None
    assert server.exist  # nobody may come in now; that is not the same as everybody


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "A", "1a", "a b", "a" * 33, "a\n", "ä", "a\0"])
def test_names_that_are_no_folders_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="cannot be the name of an account"):
        checked_name(name)
    with pytest.raises(AccessError, match="cannot be the name of an account"):
        Accounts(tmp_path).add(name, PASSWORD)


@pytest.mark.parametrize("password", ["", "short", "x" * 1001])
def test_passwords_of_a_wrong_length_are_refused(password: str, tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="needs 10 to 1,000 characters"):
        Accounts(tmp_path).add("alice", password)
    assert not Accounts(tmp_path).all()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"accounts": 3}', '{"accounts": {"../x": {}}}', '{"accounts": {"a": {"password": 1}}}']
)
def test_a_damaged_file_lets_nobody_in(content: str, tmp_path: Path) -> None:
    (tmp_path / keys.ACCOUNTS_FILE).write_text(content)
    with pytest.raises(AccessError):
        Accounts(tmp_path).all()
    with pytest.raises(AccessError):
        Accounts(tmp_path).add("alice", PASSWORD)
    assert (tmp_path / keys.ACCOUNTS_FILE).read_text() == content


@pytest.mark.usefixtures("typed")
def test_an_account_is_made_with_a_password_that_is_piped_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "add", "alice") == 0
    said = capsys.readouterr().out
    assert "alice may sign in, and is an admin." in said
    assert "everybody has to sign in" in said
    assert PASSWORD not in said
    assert Accounts(tmp_path).check("alice", PASSWORD) is not None
    assert run(tmp_path, "list") == 0
    assert capsys.readouterr().out == "alice\tadmin\t0 runs\n"


def test_a_password_can_be_made_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "add", "alice", "--generate") == 0
    made = capsys.readouterr().out.splitlines()[0].removeprefix("password of alice: ")
    assert Accounts(tmp_path).check("alice", made) is not None
    assert run(tmp_path, "add", "bob", "--admin", "--generate") == 0
    assert run(tmp_path, "password", "alice", "--generate") == 0
    assert Accounts(tmp_path).check("alice", made) is None
    capsys.readouterr()
    assert run(tmp_path, "list") == 0
    assert capsys.readouterr().out == "alice\tadmin\t0 runs\nbob\tadmin\t0 runs\n"


def test_removal_leaves_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Accounts(tmp_path).add("alice", PASSWORD)
    kept = tmp_path / keys.USERS_FOLDER / "alice" / keys.RUNS_FOLDER / "one"
    kept.mkdir(parents=True)
    (kept / keys.CONFIG_FILE).write_text(json.dumps({}))
    assert run(tmp_path, "remove", "alice") == 0
    assert str(kept.parent.parent) in capsys.readouterr().out
    assert kept.is_dir()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "alice"), "There is an account called alice already"),
        (("add", "../bob"), "cannot be the name of an account"),
        (("password", "bob"), "There is no account called 'bob'"),
        (("remove", "bob"), "There is no account called 'bob'"),
        (("add", "bob"), "There is no password on the standard input"),
    ],
)
def test_mistakes_are_told_in_one_line(
    arguments: tuple[str, ...],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    Accounts(tmp_path).add("alice", PASSWORD)
    assert run(tmp_path, *arguments) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
