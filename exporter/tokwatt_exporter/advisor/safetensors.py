"""The headers of a folder of safetensors files, as MLX and Hugging Face have them, and its config.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokwatt_exporter.advisor.model import KV_NUMBER_BYTES, Model, NotAModel, positive

#: What the format itself allows.
MOST_HEADER_BYTES = 100 * 10**6
MOST_CONFIG_BYTES = 2**20
MOST_FILES = 1000
_EXPERTS = (".experts.", ".switch_mlp.")
_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")
_USED = ("num_experts_per_tok", "num_experts_per_token")
_WITH_CACHE = ("full_attention", "sliding_attention", "attention")


def read(folder: Path) -> Model:
    """The model in a folder; `NotAModel` where a file is damaged or config.json is not there."""
    config = _config(folder / "config.json")
    tensors: dict[str, int] = {}
    for path in sorted(folder.glob("*.safetensors"))[:MOST_FILES]:
        tensors |= dict(_tensors(path))
    if not tensors:
        raise NotAModel(f"{folder}: has no tensors in .safetensors files")
    # A model that sees has its language model in a table of its own.
    text = {**config, **(config["text_config"] if isinstance(config.get("text_config"), dict) else {})}
    notes = []
    if window := positive(text.get("sliding_window")):
        notes.append(f"layers that only see the last {window} tokens need less cache than this, which is the most")
    return Model(
        name=folder.resolve().name, path=folder, format="safetensors", architecture=_name(text.get("model_type")),
        weights_bytes=sum(tensors.values()), active_bytes=_active(tensors, text), kv_bytes_per_token=_cache(text),
        feed=_feed(text), width=positive(text.get("hidden_size")),
        trained_context=positive(text.get("max_position_embeddings")), notes=tuple(notes),
    )  # fmt: skip


def _config(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_CONFIG_BYTES + 1)
        config = json.loads(raw) if len(raw) <= MOST_CONFIG_BYTES else None
    except FileNotFoundError:
        raise NotAModel(f"{path} is missing, which says what the weights beside it are") from None
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise NotAModel(f"{path}: is no configuration of a model")
    return config


def _tensors(path: Path) -> Iterator[tuple[str, int]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MOST_HEADER_BYTES, size - 8):
            raise NotAModel(f"{path}: says its header is {length} bytes long, in a file of {size}")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError):
            header = None
    if not isinstance(header, dict):
        raise NotAModel(f"{path}: its header is no JSON object")
    for name, facts in header.items():
        if name == "__metadata__":
            continue
        try:
            first, last = facts["data_offsets"]
            good = 0 <= first <= last <= size - 8 - length
        except (TypeError, KeyError, ValueError):
            good = False
        if not good:
            raise NotAModel(f"{path}: ends before its tensors do; it may still be downloading")
        yield name, int(last - first)


def _active(tensors: Mapping[str, int], text: Mapping[str, Any]) -> int:
    """Of the experts only some are read, of the words' vectors one, unless the same table makes the output."""
    experts, used = _first(text, _COUNTS), _first(text, _USED)
    share = used / experts if experts and used and used < experts else 1.0
    tied = not any("lm_head" in name for name in tensors)
    total = 0.0
    for name, size in tensors.items():
        if "embed_tokens" in name and not tied:
            continue
        total += size * share if any(part in name for part in _EXPERTS) else size
    return round(total)


def _feed(text: Mapping[str, Any]) -> int | None:
    """The feed-forward layer, and of experts all that are used for a token."""
    expert, used = positive(text.get("moe_intermediate_size")), _first(text, _USED)
    return max(positive(text.get("intermediate_size")) or 0, (expert or 0) * (used or 0)) or None


def _first(text: Mapping[str, Any], names: Sequence[str]) -> int | None:
    return next(filter(None, map(positive, map(text.get, names))), None)


def _cache(text: Mapping[str, Any]) -> int | None:
    """Bytes of cache for each token over all layers; layers without attention have none."""
    layers, heads = positive(text.get("num_hidden_layers")), positive(text.get("num_attention_heads"))
    kinds = text.get("layer_types")
    if isinstance(kinds, list):
        layers = sum(kind in _WITH_CACHE for kind in kinds)
    elif layers and (interval := positive(text.get("full_attention_interval"))):
        layers //= interval
    if layers is None or heads is None:
        return None
    if (latent := positive(text.get("kv_lora_rank"))) and (turned := positive(text.get("qk_rope_head_dim"))):
        # One vector for all heads, from which keys and values are made again.
        return layers * (latent + turned) * KV_NUMBER_BYTES
    width = positive(text.get("hidden_size"))
    each = positive(text.get("head_dim")) or (width // heads if width else None)
    kept = positive(text.get("num_key_value_heads")) or heads
    return None if each is None else layers * kept * 2 * each * KV_NUMBER_BYTES


def _name(value: object) -> str | None:
    return value[:100] if isinstance(value, str) and value else None
