"""Are long, endless and dripping requests refused before they fill the disk? Against a server on a real socket."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
import pytest
import waitress.channel
from dash import Dash

from pages._access import attempts, bodies, guard
from pages._access.options import AccessSettings
from pages._shared.studio import Studio

Send = Callable[..., str]


@pytest.fixture
def send(app: Dash, own_studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Iterator[Send]:
    """Sends bytes to the app behind waitress; what comes back."""
    monkeypatch.setattr(waitress.channel.HTTPChannel, "parser_class", waitress.channel.HTTPChannel.parser_class)
    settings = AccessSettings(port=0)
    limits = {"/upload": 100 << 20}
    server = bodies.create_server(app.server, settings, limits=limits)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()

    def talk(start: str, *headers: str, body: bytes = b"") -> str:
        with socket.create_connection(("127.0.0.1", server.effective_port), timeout=20) as line:
            text = "\r\n".join([f"{start} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""])
            line.sendall(text.encode() + body)
            answer = b""
            while block := line.recv(65536):
                answer += block
        return answer.decode(errors="replace")

    yield talk
    server.close()
    thread.join(20)


def test_a_long_body_is_refused_by_its_announcement(send: Send) -> None:
    for route in ("/_dash-update-component", "/sign-in", "/nowhere"):
        answer = send(f"POST {route}", f"Content-Length: {guard.MAX_BODY + 1}", body=b"x")
        assert answer.startswith("HTTP/1.1 413"), route
        assert "16 MB" in answer
    assert send("POST /upload?name=x.h5ad", f"Content-Length: {(100 << 20) + 1}").startswith("HTTP/1.1 413")


def test_a_body_without_a_length_is_refused(send: Send) -> None:
    answer = send("POST /upload?name=x.h5ad", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n")
    assert answer.startswith("HTTP/1.1 411")
    assert send("POST /upload?name=x.h5ad", "Content-Length: -5").startswith("HTTP/1.1 400")
    assert send("POST /upload?name=x.h5ad", "Content-Length: 5x").startswith("HTTP/1.1 400")


def test_strangers_may_not_send_long_uploads(send: Send, app: Dash, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = guard.Guard(AccessSettings(token="a-token-of-sixteen"))
    monkeypatch.setitem(app.server.extensions, guard.EXTENSION, closed)
    long = f"Content-Length: {guard.MAX_BODY + 1}"
    assert "Sign in before you upload" in send("POST /upload?name=x.h5ad", long)
    assert "Sign in before you upload" in send("POST /upload?name=x.h5ad", long, "Cookie: scetm_session_8050=forged")
    known = send(
        "POST /upload?name=x.bad", long, "Authorization: Bearer a-token-of-sixteen", body=b"x" * (guard.MAX_BODY + 1)
    )
    assert "cannot be read" in known  # taken, and its ending is refused


def test_strangers_may_not_send_more_than_a_form(
    send: Send, app: Dash, own_studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = guard.Guard(AccessSettings(token="a-token-of-sixteen"))
    monkeypatch.setitem(app.server.extensions, guard.EXTENSION, closed)
    monkeypatch.setattr(attempts, "_minute", lambda: 1000)
    size = guard.MAX_FROM_STRANGERS + 1
    for route in ("/_dash-update-component", "/sign-in", "/upload"):
        assert "Sign in before" in send(f"POST {route}", f"Content-Length: {size}"), route  # before it is sent
    known = "Authorization: Bearer a-token-of-sixteen"
    assert "Load it again" in send("POST /_dash-update-component", f"Content-Length: {size}", known, body=b"x" * size)
    for _ in range(attempts.PER_ADDRESS):
        closed.attempts.showed_wrong_token("127.0.0.1")
    assert "Sign in before" in send("POST /upload", f"Content-Length: {size}", known)


def test_behind_a_proxy_tokens_are_counted_for_the_address_it_tells(
    own_studio: Studio, app: Dash, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = guard.Guard(AccessSettings(behind_proxy=True))
    told = {"HTTP_X_FORWARDED_FOR": "10.6.6.6, 10.0.0.1", "REMOTE_ADDR": "127.0.0.1"}
    assert behind.with_true_address(told)["REMOTE_ADDR"] == "10.0.0.1"
    assert guard.Guard(AccessSettings()).with_true_address(told) == told


def test_an_upload_that_would_fill_the_disk_is_refused(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SPARE", 1 << 60)
    answer = send("POST /upload?name=x.h5ad", f"Content-Length: {guard.MAX_BODY + 1}")
    assert answer.startswith("HTTP/1.1 507")


@pytest.mark.parametrize(
    ("part", "words"),
    [(b"POST /upload HTTP/1.1\r\nHost: x", "request came too slowly"),
     (b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx", "upload came too slowly")],
)  # fmt: skip
def test_a_request_that_drips_is_given_up(part: bytes, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(bodies.time, "monotonic", lambda: clock[0])
    adjusted: Any = waitress.adjustments.Adjustments()
    parser = bodies.CarefulParser(adjusted, is_let_in=lambda _: True, limits={"/upload": 1 << 30})
    parser.received(part)
    assert not parser.completed
    clock[0] = bodies.PATIENCE + 60
    parser.received(b"y")
    assert parser.completed
    assert words in parser.error.body


# ---- what an uploaded file may hold -------------------------------------------------------------------------------


def _external_link(file: h5py.File, secret: str) -> None:
    file["X"] = h5py.ExternalLink(secret, "/X")


def _external_storage(file: h5py.File, secret: str) -> None:
    file.create_dataset("X", shape=(4, 4), dtype="u1", external=[(secret, 0, 16)])


def _virtual(file: h5py.File, secret: str) -> None:
    layout = h5py.VirtualLayout(shape=(4, 4), dtype="f4")
    layout[:] = h5py.VirtualSource(secret, "X", shape=(4, 4))
    file.create_virtual_dataset("X", layout)


@pytest.mark.parametrize("way", [_external_link, _external_storage, _virtual])
@pytest.mark.parametrize("place", ["X", "obs/cell_type"])
def test_an_upload_cannot_reach_out_to_another_file(
    way: Callable[[h5py.File, str], None], place: str, own_studio: Studio, data_dir: Any, app: Dash
) -> None:
    secret = own_studio.home / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["X"] = np.ones((4, 4), dtype="f4")
    bad = own_studio.home / "bad.h5ad"
    bad.write_bytes((data_dir / "planted.h5ad").read_bytes())
    with h5py.File(bad, "r+") as file:
        parent, _, name = place.rpartition("/")
        group = file[parent] if parent else file
        del group[name]
        way(file if not parent else _named(group, name), str(secret))
    answer = app.server.test_client().post("/upload", query_string={"name": "bad.h5ad"}, data=bad.read_bytes())
    assert answer.status_code == 400
    assert "outside" in answer.json["error"]
    assert not (own_studio.uploads_folder / "bad.h5ad").exists()
    assert os.fspath(own_studio.home) not in answer.get_data(as_text=True)


class _named:
    """A group in which what is made as "X" is called otherwise."""

    def __init__(self, group: h5py.Group, name: str) -> None:
        self._group, self._name = group, name

    def __setitem__(self, _: str, value: Any) -> None:
        self._group[self._name] = value

    def create_dataset(self, _: str, **options: Any) -> None:
        self._group.create_dataset(self._name, **options)

    def create_virtual_dataset(self, _: str, layout: Any) -> None:
        self._group.create_virtual_dataset(self._name, layout)
