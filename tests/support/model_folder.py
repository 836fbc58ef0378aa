"""The tiny model as a folder of the kind that MLX and vLLM load: the same tensors and tokenizer under other names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import cache
from .model import (
    BLOCKS,
    CHAT_TEMPLATE,
    CONTEXT,
    END_OF_TEXT,
    END_OF_TURN,
    HEADS,
    SPECIAL,
    bigrams,
    tensors,
    tiny_model,
    tokenizer,
)

TENSORS = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}  # fmt: skip


def tiny_folder() -> Path:
    """The folder, called tiny-llama: configuration, weights and tokenizer."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:10]
    return (
        cache.made(f"{tiny_model().parent.name}-folder-{recipe}", lambda made: _write(made / "tiny-llama"))
        / "tiny-llama"
    )


def _write(folder: Path) -> None:
    folder.mkdir()
    tokens = tokenizer()
    followers = bigrams(tokens)
    _write_weights(folder / "model.safetensors", tensors(followers))
    start, end = (tokens.token_to_id(text) for text in (END_OF_TEXT, END_OF_TURN))
    _write_json(folder / "config.json", _config(len(followers), start, end))
    _write_json(folder / "generation_config.json", {"bos_token_id": start, "eos_token_id": end})
    tokens.save(str(folder / "tokenizer.json"))
    added = {tokens.token_to_id(text): {"content": text, "special": True} for text in SPECIAL}
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": END_OF_TEXT,
            "eos_token": END_OF_TURN,
            "pad_token": END_OF_TEXT,
            "model_max_length": CONTEXT,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
            "added_tokens_decoder": added,
        },
    )


def _config(width: int, start: int, end: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": width,
        "hidden_size": width,
        "intermediate_size": width,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS // 2,
        "head_dim": width // HEADS,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": False,
        "bos_token_id": start,
        "eos_token_id": end,
        "torch_dtype": "float16",
    }


def _write_weights(path: Path, named: Iterable[tuple[str, Any]]) -> None:
    """A safetensors file: the length of a JSON header, the header, and the bytes of every tensor."""
    import numpy

    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts: list[bytes] = []
    at = 0
    for name, tensor in named:
        part = tensor.astype(numpy.float16).tobytes()
        header[_name(name)] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [at, at + len(part)]}
        parts.append(part)
        at += len(part)
    text = json.dumps(header).encode()
    # Tensors begin at a multiple of eight.
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def _name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem.startswith("blk."):
        _, block, part = stem.split(".")
        return f"model.layers.{block}.{TENSORS[part]}.weight"
    return f"{TENSORS[stem]}.weight"


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1))
