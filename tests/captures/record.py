"""Record what a real llama-server answers, byte for byte, into `tests/captures/llama_cpp`.

    .venv/bin/python -m tests.captures.record

The server runs the tiny model of the tests; a chat is asked first so that its counters have moved.
"""

import json
import socket
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PATHS = {"health": "/health", "props": "/props", "v1-models": "/v1/models", "metrics": "/metrics", "slots": "/slots"}


def exchange(port: int, method: str, path: str, body: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall((head + body).encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def without_place(answer: bytes, model: Path) -> bytes:
    """The answer without where the model lies on this machine; its length mended."""
    head, _, body = answer.partition(b"\r\n\r\n")
    mended = body.replace(str(model).encode(), model.name.encode())
    head = head.replace(f"Content-Length: {len(body)}".encode(), f"Content-Length: {len(mended)}".encode())
    return head + b"\r\n\r\n" + mended


def main() -> None:
    sys.path.insert(0, str(HERE.parent))
    from support.engine import llama_server, tiny_model

    with tempfile.TemporaryDirectory() as scratch, llama_server(Path(scratch)) as server:
        chat = {"messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 12, "ignore_eos": True}
        exchange(server.port, "POST", "/v1/chat/completions", json.dumps(chat))
        for name, path in PATHS.items():
            answer = without_place(exchange(server.port, "GET", path), tiny_model())
            (HERE / "llama_cpp" / f"{name}.http").write_bytes(answer)


if __name__ == "__main__":
    main()
