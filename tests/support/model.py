"""A tiny language model made from nothing: a real tokenizer, and a real transformer that knows what follows what.

Its blocks are small noise, and its output matrix holds the log-probabilities of a bigram count over the sentences
below. So an engine does all the work of a big model, the text is readable, and an answer ends by itself.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import cache

TEXT = """\
The exporter reads every sensor and keeps what it has read. A sensor that cannot be read is not there.
A token is a piece of a word, and a model writes one token after the other until the answer is done.
The prompt is read first and all at once, so the first token takes longer than the next one.
Power is energy over time. Energy is counted in joules, time in seconds, and power in watts.
A warm chip makes the fan turn faster, and a hot chip makes itself slower. In the evening the room is cool again.
Memory is full when nothing more fits in it, and then the system writes pages to the disk and everything waits.
A scrape takes one millisecond. A second has a thousand of them, and an hour has 3600 seconds.
Hello. What can I do for you today? I can count, I can tell a story, and I can stop. Yes. No. Perhaps.
Once there was a small machine in a small room, and it answered every question that was asked.
One day nobody asked anything, so the machine slept, and the fan stopped, and the room was quiet. That is the story.
"""
END_OF_TEXT, TURN, END_OF_TURN = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (END_OF_TEXT, TURN, END_OF_TURN)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VOCABULARY, BLOCKS, HEADS, CONTEXT = 384, 2, 4, 8192


def tiny_model() -> Path:
    """The model as a GGUF file: chat template, context of 8192 tokens, about 4 MB."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:10]
    return cache.made(f"tiny-model-{recipe}", lambda folder: _write(folder / "tiny-llama.gguf")) / "tiny-llama.gguf"


def tokenizer() -> Any:
    """Byte-level pairs, trained on the sentences."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    bytes_ = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL), initial_alphabet=bytes_, show_progress=False
    )
    made.train_from_iterator(TEXT.splitlines(), trainer)
    return made


def bigrams(tokens: Any) -> Any:
    """Log-probability of each next token (column) after each token (row)."""
    import numpy

    size = tokens.get_vocab_size()
    count = numpy.full((size, size), 1e-4)
    header_ends = tokens.encode("\n").ids[-1]
    full_stop = tokens.encode(".").ids[-1]
    for line in TEXT.splitlines():
        ids = tokens.encode(line).ids
        for one, next_one in itertools.pairwise(ids):
            count[one, next_one] += 1
        # An answer starts like a line, and so does what follows the end of another line.
        count[header_ends, ids[0]] += 1
        count[ids[-1], tokens.encode(f" {line}").ids[0]] += 1
    end_of_turn = tokens.token_to_id(END_OF_TURN)
    # The likeliest token after a full stop, so that an answer without randomness ends there.
    count[full_stop, end_of_turn] = 1.1 * count[full_stop].max()
    for special in (END_OF_TEXT, TURN):
        count[:, tokens.token_to_id(special)] = 1e-9
    return numpy.log(count / count.sum(axis=1, keepdims=True))


def _write(path: Path) -> None:
    import gguf

    tokens = tokenizer()
    followers = bigrams(tokens)
    # As wide as the vocabulary, so that a token can be embedded as a unit vector.
    width = len(followers)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny-llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(width)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(width)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // HEADS)
    writer.add_vocab_size(width)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_tokenizer(writer, tokens)
    for name, tensor in tensors(followers):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: Any, tokenizer: Any) -> None:
    import gguf

    tokens = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([token.encode() for token in tokens])
    writer.add_token_types([gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(tokenizer.token_to_id(END_OF_TEXT))
    writer.add_eos_token_id(tokenizer.token_to_id(END_OF_TURN))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def tensors(followers: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor under its name in a GGUF file: norms in 32 bits, matrices in 16."""
    import numpy

    random = numpy.random.default_rng(1)
    width = len(followers)

    def noise(rows: int, columns: int, scale: float) -> Any:
        return (random.standard_normal((rows, columns)) * scale).astype(numpy.float16)

    yield "token_embd.weight", numpy.eye(width, dtype=numpy.float16)
    for block in range(BLOCKS):
        name = f"blk.{block}."
        for norm in ("attn_norm", "ffn_norm"):
            yield f"{name}{norm}.weight", numpy.ones(width, numpy.float32)
        for part, rows in (("q", width), ("k", width // 2), ("v", width // 2)):
            yield f"{name}attn_{part}.weight", noise(rows, width, 0.02)
        for part in ("gate", "up"):
            yield f"{name}ffn_{part}.weight", noise(width, width, 0.02)
        # What a block adds is too small to change which token follows.
        yield f"{name}attn_output.weight", noise(width, width, 1e-3)
        yield f"{name}ffn_down.weight", noise(width, width, 1e-3)
    yield "output_norm.weight", numpy.ones(width, numpy.float32)
    # The norm of a unit vector is √width times that vector.
    yield "output.weight", (followers.T / numpy.sqrt(width)).astype(numpy.float16)
