"""The boards as files, and saved in a Grafana: a strict stand-in that answers as its HTTP API is documented."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tokwatt_bench import dashboards_cli
from tokwatt_exporter.shell import run_app

BOARDS = Path(__file__).parents[2] / "grafana/dashboards"
TOKEN = "glsa_sesame"
#: What the API takes beside the board; anything else it would leave out without a word.
TAKES = {"dashboard", "folderId", "folderUid", "message", "overwrite"}


class Grafana(HTTPServer):
    """Boards by UID, each with its folder; `trouble` is what it answers in place of saving."""

    def __init__(self, path=""):
        super().__init__(("127.0.0.1", 0), Handler)
        self.path, self.boards, self.folders, self.trouble = path, {}, {"": None, "own": None}, None
        self.url = f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        prefix = f"{self.server.path}/api/dashboards/uid/"
        if not self.may():
            return
        found = self.server.boards.get(self.path.removeprefix(prefix)) if self.path.startswith(prefix) else None
        if found is None:
            self.answer(404, {"message": "Dashboard not found"})
        else:
            self.answer(200, {"dashboard": found["dashboard"], "meta": {"folderUid": found["folderUid"]}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.may():
            return
        if self.server.trouble:
            self.answer(*self.server.trouble)
        elif self.path != f"{self.server.path}/api/dashboards/db":
            self.answer(404, {"message": "Not found"})
        else:
            self.save(body)

    def save(self, body):
        board = body["dashboard"]
        known = board.get("uid") in self.server.boards
        if self.headers["content-type"] != "application/json" or set(body) - TAKES:
            self.answer(400, {"message": "bad request data"})
        elif not board.get("title"):
            self.answer(400, {"message": "Dashboard title cannot be empty"})
        elif board.get("id") is not None or len(board["uid"]) > 40:
            self.answer(404, {"message": "Dashboard not found"})
        elif body.get("folderUid", "") not in self.server.folders:
            self.answer(404, {"message": "folder not found"})
        elif known and not body.get("overwrite"):
            self.answer(
                412, {"status": "version-mismatch", "message": "The dashboard has been changed by someone else"}
            )
        else:
            self.server.boards[board["uid"]] = {"dashboard": board, "folderUid": body.get("folderUid", "")}
            url = f"{self.server.path}/d/{board['uid']}/{board['title'].lower().replace(' ', '-')}"
            self.answer(200, {"id": 1, "uid": board["uid"], "url": url, "status": "success", "version": 1, "slug": "x"})

    def may(self):
        if self.headers["authorization"] == f"Bearer {TOKEN}":
            return True
        self.answer(401, {"message": "Invalid API key"})
        return False

    def answer(self, status, said):
        data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture(params=["", "/grafana"], ids=["root", "path"])
def grafana(request):
    server = Grafana(request.param)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def token(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def run(monkeypatch, capsys):
    """Run `tokwatt-bench dashboards ARGS`: exit code, stdout, stderr."""

    def run(*args):
        monkeypatch.setattr("sys.argv", ["tokwatt-bench", *map(str, args)])
        code = run_app(dashboards_cli.app, "tokwatt-bench")
        return code, *capsys.readouterr()

    return run


def test_the_boards_are_written_as_they_are_in_the_repository(run, tmp_path):
    folder = tmp_path / "provisioned/tokwatt"
    code, out, _ = run("export", folder)
    assert code == 0
    names = sorted(path.name for path in BOARDS.glob("*.json"))
    assert out.splitlines() == [str(folder / name) for name in names]
    for name in names:
        assert (folder / name).read_text() == (BOARDS / name).read_text()
    assert run("export", folder)[0] == 0


def test_a_folder_that_cannot_be_written_costs_one_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, err = run("export", tmp_path / "file")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_every_board_is_saved_and_its_address_printed(run, grafana, token):
    code, out, err = run("push", "--url", grafana.url, "--token-file", token)
    assert (code, err) == (0, "")
    assert set(grafana.boards) == {json.loads(path.read_text())["uid"] for path in BOARDS.glob("*.json")}
    assert f"tokwatt: Host: {grafana.url}/d/tokwatt-host/tokwatt:-host" in out.splitlines()
    saved = grafana.boards["tokwatt-host"]["dashboard"]
    assert saved == json.loads((BOARDS / "tokwatt-host.json").read_text()) | {"id": None}
    assert run("push", "--url", grafana.url, "--token-file", token)[0] == 0


def test_a_board_stays_in_the_folder_somebody_moved_it_to(run, grafana, token):
    run("push", "--url", grafana.url, "--token-file", token)
    grafana.boards["tokwatt-host"]["folderUid"] = "own"
    run("push", "--url", grafana.url, "--token-file", token)
    assert {uid: board["folderUid"] for uid, board in grafana.boards.items() if board["folderUid"]} == {
        "tokwatt-host": "own"
    }
    run("push", "--url", grafana.url, "--token-file", token, "--folder", "own")
    assert {board["folderUid"] for board in grafana.boards.values()} == {"own"}


def test_what_grafana_refuses_is_told_with_what_mends_it(run, grafana, token):
    push = ("push", "--url", grafana.url, "--token-file", token)
    code, _, err = run(*push, "--folder", "nowhere")
    assert code == 1 and "HTTP 404: there is no such folder, or no Grafana under this URL: folder not found" in err
    for trouble, line in (
        ((403, {"message": "You'll need additional permissions"}), "HTTP 403: the token may not save dashboards there"),
        ((400, {"message": "Cannot save provisioned dashboard"}), "HTTP 400: Cannot save provisioned dashboard"),
        ((412, {"status": "name-exists", "message": "a"}), "HTTP 412: somebody changed it meanwhile: a"),
        ((200, "<html>Welcome</html>"), "answered something that Grafana does not; is this its address?"),
        ((500, "\x1b[31m"), "HTTP 500\n"),
    ):
        grafana.trouble = trouble
        code, out, err = run(*push)
        assert (code, out) == (1, "")
        assert line in err and err.count("\n") == 1
    token.write_text("another")
    code, _, err = run(*push)
    assert code == 1 and "HTTP 401: the token is not valid, or expired: Invalid API key" in err
    assert "another" not in err


def test_a_grafana_that_is_not_there_costs_one_line(run, token):
    code, out, err = run("push", "--url", "http://127.0.0.1:1", "--token-file", token)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "refuses connections" in err


def test_the_token_is_not_sent_in_the_clear_nor_read_from_a_file_for_all(run, token):
    code, _, err = run("push", "--url", "http://grafana.example.org", "--token-file", token)
    assert code == 2 and "would get the token unencrypted" in err
    token.chmod(0o644)
    code, _, err = run("push", "--url", "http://127.0.0.1:1", "--token-file", token)
    assert code == 2 and "others can read it" in err
    assert TOKEN not in err
