"""Files to give away: they say nothing of whose machine it was, and nobody can change them unseen."""

import base64
import json
import stat
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
import typer

from bench.reports import changed, real
from tokwatt_bench import share_cli
from tokwatt_bench.measured import load
from tokwatt_bench.share import KEY_FILE, BadSignature, canonical, key, shared, verified
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.shell import run_app


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return key(tmp_path_factory.mktemp("signer"))


@pytest.fixture(scope="module")
def told():
    """A result in which everything says where it was measured."""
    return changed(
        real()["bad"], "told1", host="studio.example.org", url="http://10.1.2.3:8080", engine="studio",
        model="/Users/mustermann/models/q.gguf",
        hardware={"chip": "Apple M4 Max", "machine_model": "studio", "memory": "64 GiB", "os_version": None},
        notes=["measured on studio at http://10.1.2.3:8080/v1?key=abc", "studio-like words stay"],
        failures=[{"class": "refused", "count": 8, "detail": "10.1.2.3:8080 refuses connections", "requests": [0]}],
    )  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run `tokwatt-bench share ARGS`: exit code, stdout, stderr."""
    app = typer.Typer()
    app.command("share")(share_cli.share)
    # It may not live where a test writes its files.
    data = tmp_path / "data"

    def run(*args):
        monkeypatch.setattr("sys.argv", ["tokwatt-bench", *map(str, args), "--data-dir", str(data)])
        code = run_app(app, "tokwatt-bench")
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def given(tmp_path, told):
    from tokwatt_bench.measured import document

    file = tmp_path / "given.json"
    file.write_text(json.dumps(document([told])))
    return file


@pytest.fixture
def receiver():
    """A server that takes what is posted, or answers with a status; its URL, what it got, and the status."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            self.server.got.append((self.path, self.headers["content-type"], body))
            self.send_response(self.server.status)
            self.send_header("content-length", "4")
            if 300 <= self.server.status < 400:
                self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            self.wfile.write(b"busy")

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.status = [], 201
    thread = Thread(target=server.serve_forever)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def written(tmp_path, document):
    file = tmp_path / "shared.json"
    file.write_text(json.dumps(document))
    return file


def test_a_shared_file_says_nothing_of_whose_machine_it_was(signer, told):
    found = shared([told], signer)
    text = json.dumps(found)
    for word in ("10.1.2.3", "example.org", "mustermann", "abc"):
        assert word not in text, word
    [result] = found["results"]
    assert (result["host"], result["url"], result["model"]) == (None, None, "~/models/q.gguf")
    assert result["notes"] == ["measured on <host> at <url>", "studio-like words stay"]
    assert result["failures"][0]["detail"] == "<host> refuses connections"
    assert result["hardware"] == {
        "chip": "Apple M4 Max", "machine_model": "<host>", "memory": "64 GiB", "os_version": None
    }  # fmt: skip
    # What somebody called an engine is its name, and not a text about a host.
    assert result["engine"] == "studio"
    assert result["request_duration_seconds"] == told.result["request_duration_seconds"]


def test_with_host_it_says_all(signer, told):
    [result] = shared([told], signer, with_host=True)["results"]
    assert (result["host"], result["url"]) == ("studio.example.org", "http://10.1.2.3:8080")


def test_a_shared_file_explains_itself_and_is_read_like_any_other(signer, tmp_path):
    good = real()["good"]
    found = shared([good], signer)
    assert found["figures"]["time_to_first_token_seconds"]["definition"].startswith("From sending the request")
    assert found["signed"]["algorithm"] == "Ed25519"
    file = written(tmp_path, found)
    assert verified(file) == found
    [again] = load(file)
    assert again.result["generation_tokens_per_second"] == good.result["generation_tokens_per_second"]
    assert len(again.requests) == len(good.requests)


def test_layout_and_order_do_not_break_a_signature(signer, tmp_path):
    found = shared([real()["good"]], signer)
    file = tmp_path / "shared.json"
    file.write_text(json.dumps(dict(reversed(found.items())), indent=4, ensure_ascii=False))
    assert canonical(verified(file)) == canonical(found)


@pytest.mark.parametrize("change", [
    lambda found: found["results"][0].update(failed=0),
    lambda found: found["results"][0]["time_to_first_token_seconds"].update(p50=0.001),
    lambda found: found["requests"].pop(),
    lambda found: found["figures"].clear(),
    lambda found: found.update(note="and more"),
    lambda found: found["signed"].update(signature=base64.b64encode(bytes(64)).decode()),
    lambda found: found["signed"].update(signature="?"),
    lambda found: found["signed"].update(public_key=base64.b64encode(bytes(range(32))).decode()),
    lambda found: found["signed"].pop("public_key"),
])  # fmt: skip
def test_what_was_changed_after_it_was_signed_is_seen(signer, told, tmp_path, change):
    found = shared([told], signer)
    change(found)
    with pytest.raises(BadSignature, match="does not fit"):
        verified(written(tmp_path, found))


def test_a_key_that_stands_twice_is_refused(signer, told, tmp_path):
    file = written(tmp_path, shared([told], signer))
    file.write_text(file.read_text().replace('"failed": 8', '"failed": 0, "failed": 8', 1))
    with pytest.raises(BadSignature, match="'failed' stands twice"):
        verified(file)


def test_the_key_is_made_once_and_for_its_owner_only(tmp_path):
    first, again = key(tmp_path), key(tmp_path)
    assert first.private_bytes_raw() == again.private_bytes_raw()
    file = tmp_path / KEY_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
    file.chmod(0o640)
    with pytest.raises(UsageError, match="others can read it"):
        key(tmp_path)
    file.chmod(0o600)
    file.write_text("nothing")
    with pytest.raises(UsageError, match="holds no key"):
        key(tmp_path)


def test_a_file_is_written_and_verified_by_the_commands(run, given, tmp_path):
    file = tmp_path / "shared.json"
    assert run(given, "--output", file) == (0, "", "")
    code, out, err = run("--verify", file)
    assert (code, err) == (0, "") and out.startswith("the signature fits: 1 result, signed by SHA256:")
    by = out.split()[-1]
    assert run("--verify", file, "--signer", by)[0] == 0
    code, out, err = run("--verify", file, "--signer", "SHA256:other")
    assert (code, out) == (3, "") and f"is signed by {by} and not by SHA256:other" in err
    file.write_text(file.read_text().replace('"failed": 8', '"failed": 0'))
    code, out, err = run("--verify", file)
    assert (code, out) == (3, "")
    assert err == f"tokwatt-bench: {file}: the signature does not fit; it was changed after it was signed\n"


@pytest.mark.parametrize(("args", "line"), [
    (("--verify", "{given}"), "is not signed with Ed25519"),
    (("--verify", "{given}", "--output", "x"), "--verify takes a file and nothing else"),
    (("{given}", "--signer", "x"), "--signer: goes with --verify"),
    (("{given}", "--to", "http://example.org/x"), "--to: http://example.org/x is neither https nor this machine"),
    (("{given}", "--to", "https://me:pw@example.org"), "--to: has a user or password in the URL"),
])  # fmt: skip
def test_wrong_use_costs_one_line(run, given, args, line):
    code, out, err = run(*(arg.format(given=given) for arg in args))
    assert (code, out) == (2, "")
    assert line in err and err.count("\n") == 1


def test_nothing_is_sent_without_a_yes(run, given, receiver, monkeypatch):
    code, _, err = run(given, "--to", receiver.url)
    assert (code, receiver.got) == (2, [])
    assert "--yes says that it may be sent" in err
    # Somebody is there, and says no.
    monkeypatch.setattr(share_cli, "_asked", lambda: True)
    monkeypatch.setattr(typer, "confirm", lambda text, **_: "Send 1 result " not in text)
    assert run(given, "--to", receiver.url)[0] == 130
    assert receiver.got == []
    monkeypatch.setattr(typer, "confirm", lambda text, **_: "Send 1 result " in text)
    assert run(given, "--to", receiver.url)[0] == 0
    assert len(receiver.got) == 1


def test_what_is_sent_is_what_was_signed(run, given, receiver, tmp_path):
    code, out, err = run(given, "--to", f"{receiver.url}/results?team=a", "--yes")
    assert (code, out, err) == (0, "", f"tokwatt-bench: sent to {receiver.url}/results?team=a\n")
    [(path, kind, body)] = receiver.got
    assert (path, kind) == ("/results?team=a", "application/json")
    file = tmp_path / "got.json"
    file.write_bytes(body)
    assert verified(file)["results"][0]["host"] is None


def test_a_receiver_that_refuses_or_redirects_is_named(run, given, receiver):
    receiver.status = 503
    code, _, err = run(given, "--to", receiver.url, "--yes")
    assert (code, err) == (1, f"tokwatt-bench: {receiver.url}: answered HTTP 503: busy\n")
    receiver.status = 307
    code, _, err = run(given, "--to", receiver.url, "--yes")
    assert code == 1 and "redirects to http://127.0.0.1:1/elsewhere" in err
    assert len(receiver.got) == 2
