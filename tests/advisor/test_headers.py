"""What headers of model files tell, and that a damaged or hostile one costs one line."""

import json
import struct

import gguf
import numpy
import pytest

from support.model import tiny_model
from support.model_folder import tiny_folder
from tokwatt_exporter.advisor import gguf as reader
from tokwatt_exporter.advisor.model import read
from tokwatt_exporter.errors import UsageError


def write(path, tensors, architecture="llama", **facts):
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in facts.items():
        key = f"{architecture}.{name.replace('__', '.')}"
        writer.add_array(key, value) if isinstance(value, list) else writer.add_uint32(key, value)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


ATTENTION = {
    "block_count": 4, "embedding_length": 64, "feed_forward_length": 256, "attention__head_count": 8,
    "context_length": 4096,
}  # fmt: skip


def matrix(rows, columns=64):
    return numpy.zeros((rows, columns), numpy.float16)


def test_a_gguf_file_and_a_folder_of_the_same_model_tell_the_same():
    [one], [other] = read(tiny_model()), read(tiny_folder())
    same = ("kv_bytes_per_token", "width", "feed", "trained_context", "architecture")
    assert [getattr(one, name) for name in same] == [getattr(other, name) for name in same]
    assert one.kv_bytes_per_token == 2 * 2 * 2 * 96 * 2
    # Norms have 32 bits in one and 16 in the other.
    assert one.weights_bytes == pytest.approx(other.weights_bytes, rel=0.002)
    assert one.active_bytes == pytest.approx(one.weights_bytes - 384 * 384 * 2, rel=0.001)


def test_sizes_are_those_that_the_gguf_package_reads():
    [ours] = read(tiny_model())
    theirs = sum(int(tensor.n_bytes) for tensor in gguf.GGUFReader(tiny_model()).tensors)
    assert ours.weights_bytes == pytest.approx(theirs, rel=0.001)


def test_only_the_experts_in_use_are_read_for_a_token_and_tied_words_are(tmp_path):
    tensors = {"token_embd.weight": matrix(100), "blk.0.ffn_up_exps.weight": numpy.zeros((8, 64, 64), numpy.float16)}
    facts = {**ATTENTION, "expert_count": 8, "expert_used_count": 2, "expert_feed_forward_length": 200}
    [found] = read(write(tmp_path / "moe.gguf", tensors, **facts))
    assert found.active_bytes == 100 * 64 * 2 + 8 * 64 * 64 * 2 * 2 // 8
    assert found.feed == 400


@pytest.mark.parametrize(
    ("facts", "kept"),
    [
        ({"attention__head_count_kv": 2}, 4 * 2 * 16 * 2),
        ({"attention__head_count_kv": [2, 0, 0, 4]}, 6 * 16 * 2),
        ({"attention__head_count_kv": 2, "full_attention_interval": 2}, 2 * 2 * 16 * 2),
        ({"attention__head_count_kv": 1, "attention__key_length": 100, "attention__value_length": 50}, 4 * 150 * 2),
        ({}, 4 * 8 * 16 * 2),
    ],
)  # fmt: skip
def test_the_cache_of_a_token_is_that_of_the_layers_that_have_one(tmp_path, facts, kept):
    [found] = read(write(tmp_path / "m.gguf", {"output.weight": matrix(4)}, **ATTENTION, **facts))
    assert found.kv_bytes_per_token == kept


def test_a_sliding_window_is_said_to_need_less(tmp_path):
    [found] = read(write(tmp_path / "m.gguf", {"output.weight": matrix(4)}, **ATTENTION, attention__sliding_window=512))
    assert "only see the last 512 tokens" in found.notes[0]


def test_what_has_no_attention_has_no_cache_that_is_known(tmp_path):
    [found] = read(write(tmp_path / "m.gguf", {"output.weight": matrix(4)}, "mamba", block_count=4))
    assert (found.kv_bytes_per_token, found.needed_bytes(10)) == (None, None)


def test_all_shards_of_a_model_are_one_model_and_a_missing_one_is_named(tmp_path):
    one, two = (tmp_path / f"m-0000{n}-of-00002.gguf" for n in (1, 2))
    write(one, {"output.weight": matrix(4)}, **ATTENTION)
    write(two, {"blk.0.ffn_up.weight": matrix(16)})
    [found] = read(tmp_path)
    assert found.weights_bytes == (4 + 16) * 64 * 2
    two.unlink()
    with pytest.raises(UsageError, match=r"m-00002-of-00002\.gguf is missing"):
        read(tmp_path)


def test_a_folder_has_all_its_models_and_what_only_sees_is_none(tmp_path):
    for name in ("a.gguf", "b.gguf", "mmproj-a.gguf"):
        write(tmp_path / name, {"output.weight": matrix(4)}, **ATTENTION)
    assert [found.name for found in read(tmp_path)] == ["a", "b"]


def header(tensors=0, keys=0, version=3, rest=b""):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + rest


TEXT = struct.pack("<Q", 1) + b"k"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "ends within its header"),
        (b"PK\x03\x04 something else", "is no GGUF file"),
        (header(version=1), "GGUF version 1"),
        (header(version=3 << 24), "GGUF version"),
        (header(tensors=2**60), "tensors"),
        (header(keys=2**63), "keys"),
        (header(keys=1, rest=struct.pack("<Q", 2**62)), "characters in a name"),
        (header(keys=1, rest=TEXT + struct.pack("<IIQ", 9, 4, 2**62)), "values in an array"),
        (header(keys=1, rest=TEXT + struct.pack("<IIQ", 9, 10, 2**26)), "header is longer than"),
        (header(keys=1, rest=TEXT + struct.pack("<IIQ", 9, 9, 5)), "an array of the type 9"),
        (header(keys=1, rest=TEXT + struct.pack("<I", 99)), "unknown type 99"),
        (header(tensors=1, rest=TEXT + struct.pack("<I", 2**31)), "dimensions"),
        (header(tensors=1, rest=TEXT + struct.pack("<IQIQ", 1, 5, 0, 2**50)), "ends before its tensors do"),
        (header(), "no model by itself"),
    ],
)  # fmt: skip
def test_a_damaged_or_hostile_gguf_file_is_one_line(tmp_path, content, said):
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_still_downloading_is_said_to_be_short(tmp_path):
    path = write(tmp_path / "m.gguf", {"a.weight": matrix(500), "output.weight": matrix(500)}, **ATTENTION)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(UsageError, match="may still be downloading"):
        read(path)


def test_of_the_vocabulary_only_its_length_is_kept():
    with tiny_model().open("rb") as file:
        facts, _ = reader._read(reader._Header(file, tiny_model()), file, tiny_model())
    assert facts["tokenizer.ggml.tokens"] == 384


def folder(path, config, tensors, raw=None):
    path.mkdir(exist_ok=True)
    if config is not None:
        (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    header = json.dumps(tensors).encode()
    (path / "model.safetensors").write_bytes(
        raw if raw is not None else len(header).to_bytes(8, "little") + header + b"\0" * 64
    )
    return path


GOOD = {"a": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}}


@pytest.mark.parametrize(
    ("config", "tensors", "raw", "said"),
    [
        ("[", GOOD, None, "is no configuration"),
        ("[" * 50_000, GOOD, None, "is no configuration"),
        ({}, {"a": {"data_offsets": [0, 2**60]}}, None, "may still be downloading"),
        ({}, {"a": {"data_offsets": [8, 0]}}, None, "may still be downloading"),
        ({}, {"a": 5}, None, "may still be downloading"),
        ({}, {}, None, "has no tensors"),
        ({}, [], None, "is no JSON object"),
        ({}, {}, b"", "bytes long"),
        ({}, {}, (2**62).to_bytes(8, "little"), "bytes long"),
        ({}, {}, (8).to_bytes(8, "little") + b"not json", "is no JSON object"),
    ],
)  # fmt: skip
def test_a_damaged_or_hostile_folder_is_one_line(tmp_path, config, tensors, raw, said):
    with pytest.raises(UsageError, match=said):
        read(folder(tmp_path / "m", config, tensors, raw))


def test_a_folder_without_a_configuration_holds_no_model(tmp_path):
    with pytest.raises(UsageError, match="holds no"):
        read(folder(tmp_path / "m", None, GOOD))
    with pytest.raises(UsageError, match="is missing, which says what the weights"):
        read(tmp_path / "m/model.safetensors")
    with pytest.raises(UsageError, match="there is no"):
        read(tmp_path / "gone")


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        ({"num_hidden_layers": 4, "num_attention_heads": 8, "hidden_size": 64, "num_key_value_heads": 2},
         4 * 2 * 2 * 8 * 2),
        ({"num_hidden_layers": 4, "num_attention_heads": 8, "kv_lora_rank": 512, "qk_rope_head_dim": 64}, 4 * 576 * 2),
        ({"num_hidden_layers": 4, "num_attention_heads": 8, "head_dim": 16,
          "layer_types": ["linear_attention", "full_attention"] * 2}, 2 * 8 * 2 * 16 * 2),
        ({"text_config": {"num_hidden_layers": 1, "num_attention_heads": 1, "head_dim": 8}}, 2 * 8 * 2),
        ({"num_hidden_layers": True, "num_attention_heads": -1}, None),
        ({"num_hidden_layers": "4", "num_attention_heads": 8, "head_dim": 16}, None),
    ],
)  # fmt: skip
def test_the_cache_of_a_folder_is_what_its_configuration_says(tmp_path, config, kept):
    assert read(folder(tmp_path / "m", config, GOOD))[0].kv_bytes_per_token == kept


def test_only_the_experts_in_use_of_a_folder_are_read(tmp_path):
    tensors = {
        "model.embed_tokens.weight": {"data_offsets": [0, 10]}, "lm_head.weight": {"data_offsets": [10, 20]},
        "model.layers.0.mlp.switch_mlp.up_proj.weight": {"data_offsets": [20, 60]},
    }  # fmt: skip
    config = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 7}
    [found] = read(folder(tmp_path / "m", config, tensors))
    assert (found.weights_bytes, found.active_bytes, found.feed) == (60, 20, 14)
