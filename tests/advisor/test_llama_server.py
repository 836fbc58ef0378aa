"""The memory that is predicted from a header, beside what a real llama.cpp server allocates for the file."""

import re
import subprocess

import gguf
import numpy
import pytest

from support.components import component
from support.model import CHAT_TEMPLATE, tiny_model
from support.net import NeverWill, free_port, get, wait_for
from tokwatt_exporter.advisor.model import read

pytestmark = pytest.mark.e2e

WIDTH, FEED, BLOCKS, HEADS, KEPT = 512, 2048, 4, 8, 2
#: Of what is predicted. The tiny model's feed-forward layer is no wider than the model, which lets the server put
#: one thing where another was; no model that people use is made so.
WITHIN = {"tiny": 0.12, "usual": 0.02}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "usual.gguf"
    usual(path)
    return {"tiny": tiny_model(), "usual": path}


@pytest.mark.parametrize(("name", "context"), [("tiny", 2048), ("usual", 2048), ("usual", 16384)])
def test_what_is_predicted_is_what_a_real_server_allocates(models, tmp_path, name, context):
    [model] = read(models[name])
    found = allocated(models[name], context, tmp_path / "log")
    assert found["model"] == pytest.approx(model.weights_bytes, rel=0.02)
    assert found["KV"] == model.kv_bytes(context)
    assert sum(found.values()) == pytest.approx(model.needed_bytes(context), rel=WITHIN[name])


def allocated(path, context, log):
    """Bytes of weights, cache and scratch, as the server says when it has them."""
    port = free_port()
    command = [component("llama-server"), "--model", path, "--host", "127.0.0.1", "--port", str(port), "--ctx-size",
               str(context), "--parallel", "1", "--threads", "1", "--no-warmup", "--verbosity", "4"]  # fmt: skip

    def healthy():
        if process.poll() is not None:
            raise NeverWill(log.read_text()[-3000:])
        return get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200

    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output) as process,
    ):
        try:
            wait_for(healthy, 30, "llama-server to be ready")
        finally:
            process.kill()
    said = re.findall(r"(model|KV|compute) buffer size =\s*([\d.]+) MiB", log.read_text())
    assert {what for what, _ in said} == {"model", "KV", "compute"}
    return {what: sum(float(size) for each, size in said if each == what) * 2**20 for what, _ in said}


def usual(path):
    """A llama of usual proportions, of nothing but zeros, with the tokenizer of the tiny model."""
    writer = gguf.GGUFWriter(path, "llama")
    for field in gguf.GGUFReader(tiny_model()).fields.values():
        if field.name.startswith("tokenizer.ggml.") and not field.name.endswith("chat_template"):
            kind, *of = field.types
            writer.add_key_value(field.name, field.contents(), kind, of[0] if of else None)
    writer.add_chat_template(CHAT_TEMPLATE)
    writer.add_context_length(32768)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEPT)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    kept = WIDTH // HEADS * KEPT
    shapes = {"attn_q": (WIDTH, WIDTH), "attn_k": (kept, WIDTH), "attn_v": (kept, WIDTH), "attn_output": (WIDTH, WIDTH),
              "ffn_gate": (FEED, WIDTH), "ffn_up": (FEED, WIDTH), "ffn_down": (WIDTH, FEED)}  # fmt: skip
    for name in ("token_embd", "output"):
        writer.add_tensor(f"{name}.weight", numpy.zeros((384, WIDTH), numpy.float16))
    for name in ("output_norm", *(f"blk.{n}.{norm}" for n in range(BLOCKS) for norm in ("attn_norm", "ffn_norm"))):
        writer.add_tensor(f"{name}.weight", numpy.ones(WIDTH, numpy.float32))
    for block in range(BLOCKS):
        for name, shape in shapes.items():
            writer.add_tensor(f"blk.{block}.{name}.weight", numpy.zeros(shape, numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
