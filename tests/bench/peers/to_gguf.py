"""Writes a LLaMA checkpoint in Hugging Face layout as bf16 GGUF without a vocabulary, for llama.cpp's own benchmarks.

    to_gguf.py CHECKPOINT OUTPUT
"""
import json
import math
import pathlib
import sys

import gguf
import numpy
import torch
from safetensors import safe_open

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def interleaved(weight, heads):
    """Rows in the order of llama.cpp's rotary embedding, which turns neighbours, not halves."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def frequency_factors(config):
    """Llama 3's scaling of rotary frequencies, as factors that divide them."""
    scaling, dim = config["rope_scaling"], config["head_dim"]
    old = scaling["original_max_position_embeddings"]
    factors = []
    for i in range(0, dim, 2):
        wavelength = 2 * math.pi * config["rope_theta"] ** (i / dim)
        if wavelength < old / scaling["high_freq_factor"]:
            factors.append(1.0)
        elif wavelength > old / scaling["low_freq_factor"]:
            factors.append(scaling["factor"])
        else:
            smooth = (old / wavelength - scaling["low_freq_factor"]) / (scaling["high_freq_factor"] - scaling["low_freq_factor"])
            factors.append(1 / ((1 - smooth) / scaling["factor"] + smooth))
    return numpy.array(factors, dtype=numpy.float32)


def name_of(parameter):
    stem, suffix = parameter.rsplit(".", 1)
    if stem in TOP:
        return f"{TOP[stem]}.{suffix}"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[rest]}.{suffix}"


def main():
    folder, output = pathlib.Path(sys.argv[1]), sys.argv[2]
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(output, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    if config.get("rope_scaling"):
        writer.add_tensor("rope_freqs.weight", frequency_factors(config))
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            for parameter in tensors.keys():
                weight = tensors.get_tensor(parameter)
                if ".q_proj." in parameter:
                    weight = interleaved(weight, config["num_attention_heads"])
                elif ".k_proj." in parameter:
                    weight = interleaved(weight, config["num_key_value_heads"])
                if weight.dim() == 1:
                    writer.add_tensor(name_of(parameter), weight.float().numpy())
                else:
                    bits = weight.contiguous().view(torch.uint8).numpy()
                    writer.add_tensor(name_of(parameter), bits, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main()
