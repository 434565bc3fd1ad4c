"""Single files in the names of the original programs, made from tiny pipelines of diffusers.

The names are those that Stable Diffusion, SDXL, Stable Diffusion 3, Flux and their autoencoders and text encoders are
published under; diffusers reads them with its converters, which this module inverts by rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

Weights = dict[str, Tensor]

NETWORK = "model.diffusion_model."
RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3"}
RESNET |= {"time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
UNET = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
OPEN_CLIP |= {"self_attn": "attn", "layers.": "transformer.resblocks.", "final_layer_norm": "ln_final"}
SD3 = {
    "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "proj_out": "final_layer.linear",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "attn.to_out.0": "x_block.attn.proj",
    "attn.to_add_out": "context_block.attn.proj",
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}


FLUX = {
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "context_embedder": "txt_in",
    "x_embedder": "img_in",
    "transformer_blocks.": "double_blocks.",
    "single_transformer_blocks.": "single_blocks.",
    "norm1.linear": "img_mod.lin",
    "norm1_context.linear": "txt_mod.lin",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "attn.norm_q.weight": "img_attn.norm.query_norm.scale",
    "attn.norm_k.weight": "img_attn.norm.key_norm.scale",
    "attn.norm_added_q.weight": "txt_attn.norm.query_norm.scale",
    "attn.norm_added_k.weight": "txt_attn.norm.key_norm.scale",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
    "norm.linear": "modulation.lin",
}


def save(pipeline: Any, path: Path, leave_out: Iterable[str] = ()) -> Path:
    """Write a Stable Diffusion 1 to 3, SDXL or Flux pipeline as a single file, without some of its parts."""
    parts = {"vae": prefixed("first_stage_model.", autoencoder(pipeline.vae))}
    if type(pipeline).__name__ == "FluxPipeline":
        parts["transformer"] = prefixed(NETWORK, flux(pipeline.transformer))
        parts["text_encoder"] = prefixed("text_encoders.clip_l.transformer.", clip(pipeline.text_encoder))
        parts["text_encoder_2"] = prefixed("text_encoders.t5xxl.transformer.", pipeline.text_encoder_2.state_dict())
    elif hasattr(pipeline, "transformer"):
        parts["transformer"] = prefixed(NETWORK, transformer(pipeline.transformer))
        parts["text_encoder"] = prefixed("text_encoders.clip_l.transformer.", clip(pipeline.text_encoder))
        parts["text_encoder_2"] = prefixed("text_encoders.clip_g.transformer.", clip(pipeline.text_encoder_2))
        if pipeline.text_encoder_3 is not None:
            t5 = pipeline.text_encoder_3.state_dict()
            parts["text_encoder_3"] = prefixed("text_encoders.t5xxl.transformer.", t5)
    elif hasattr(pipeline, "text_encoder_2"):
        parts["unet"] = prefixed(NETWORK, unet(pipeline.unet))
        parts["text_encoder"] = prefixed("conditioner.embedders.0.transformer.", clip(pipeline.text_encoder))
        parts["text_encoder_2"] = prefixed("conditioner.embedders.1.model.", open_clip(pipeline.text_encoder_2))
    else:
        parts["unet"] = prefixed(NETWORK, unet(pipeline.unet))
        parts["text_encoder"] = prefixed("cond_stage_model.transformer.", clip(pipeline.text_encoder))
    kept = [weights for name, weights in parts.items() if name not in leave_out]
    save_file({name: value.clone().contiguous() for weights in kept for name, value in weights.items()}, path)
    return path


def prefixed(prefix: str, weights: Weights) -> Weights:
    return {prefix + name: value for name, value in weights.items()}


def renamed(name: str, table: dict[str, str]) -> str:
    """Replace whole components of a dotted name, the longest first."""
    for old in sorted(table, key=len, reverse=True):
        pattern = rf"(?<![^.]){re.escape(old)}" + ("" if old.endswith(".") else r"(?![^.])")
        name = re.sub(pattern, table[old], name)
    return name


def unet(network: nn.Module) -> Weights:
    """Blocks are counted through: of the way down after the first convolution, of the way up from 0."""
    layers = network.config.layers_per_block
    weights = {}
    for name, value in network.state_dict().items():
        if match := re.match(r"down_blocks\.(\d+)\.(resnets|attentions|downsamplers)\.(\d+)\.(.*)", name):
            block, kind, layer, rest = int(match[1]), match[2], int(match[3]), match[4]
            place = 1 + block * (layers + 1) + (layers if kind == "downsamplers" else layer)
            rest = rest.replace("conv.", "op.") if kind == "downsamplers" else rest
            name = f"input_blocks.{place}.{int(kind == 'attentions')}.{rest}"
        elif match := re.match(r"up_blocks\.(\d+)\.(resnets|attentions|upsamplers)\.(\d+)\.(.*)", name):
            block, kind, layer, rest = int(match[1]), match[2], int(match[3]), match[4]
            place = block * (layers + 1) + (layers if kind == "upsamplers" else layer)
            attends = len(getattr(network.up_blocks[block], "attentions", ())) > 0
            inner = {"resnets": 0, "attentions": 1, "upsamplers": 1 + attends}[kind]
            name = f"output_blocks.{place}.{inner}.{rest}"
        else:
            name = renamed(name, UNET)
        resnet = re.match(r"(input_blocks|output_blocks)\.\d+\.0\.|middle_block\.[02]\.", name)
        weights[renamed(name, RESNET) if resnet else name] = value
    return weights


def autoencoder(vae: nn.Module) -> Weights:
    """Levels of the decoder are counted from the finest; attention is a convolution."""
    levels = len(vae.config.block_out_channels)
    weights = {}
    for name, value in vae.state_dict().items():
        name = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", name)
        name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
        name = re.sub(r"up_blocks\.(\d+)\.resnets", lambda m: f"up.{levels - 1 - int(m[1])}.block", name)
        name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        if "mid_block.attentions.0" in name:
            name = renamed(name.replace("mid_block.attentions.0", "mid.attn_1"), ATTENTION)
            value = value[:, :, None, None] if value.ndim == 2 else value
        weights[name] = value
    return weights


def clip(encoder: nn.Module) -> Weights:
    """Names as in transformers, all below ``text_model``, where diffusers looks for them."""
    names = {name: name.removeprefix("text_model.") for name in encoder.state_dict()}
    return {
        f"text_model.{short}" if short != "text_projection.weight" else short: encoder.state_dict()[name]
        for name, short in names.items()
    }


def open_clip(encoder: nn.Module) -> Weights:
    """Queries, keys and values in one matrix; the projection is applied from the right."""
    state = {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}
    weights = {
        "positional_embedding": state.pop("embeddings.position_embedding.weight"),
        "token_embedding.weight": state.pop("embeddings.token_embedding.weight"),
        "text_projection": state.pop("text_projection.weight").T,
    }
    for name, value in state.items():
        name = name.removeprefix("encoder.")
        if match := re.fullmatch(r"layers\.(\d+)\.self_attn\.q_proj\.(weight|bias)", name):
            parts = [state[f"encoder.layers.{match[1]}.self_attn.{part}_proj.{match[2]}"] for part in "qkv"]
            weights[f"transformer.resblocks.{match[1]}.attn.in_proj_{match[2]}"] = torch.cat(parts)
        elif not re.search(r"\.[kv]_proj\.", name):
            weights[renamed(name, OPEN_CLIP)] = value
    return weights


def transformer(network: nn.Module) -> Weights:
    """Queries, keys and values in one matrix; modulations have the shift first where diffusers has the scale."""
    state = network.state_dict()
    last = len(network.transformer_blocks) - 1
    weights = {"pos_embed": state.pop("pos_embed.pos_embed")}
    for name, value in state.items():
        short = name.replace("transformer_blocks.", "joint_blocks.")
        if match := re.fullmatch(r"(.*)\.attn\.(to_q|add_q_proj)\.(weight|bias)", name):
            side, kind = ("x_block", "to_{}") if match[2] == "to_q" else ("context_block", "add_{}_proj")
            parts = [state[f"{match[1]}.attn.{kind.format(part)}.{match[3]}"] for part in "qkv"]
            block = match[1].replace("transformer_blocks.", "joint_blocks.")
            weights[f"{block}.{side}.attn.qkv.{match[3]}"] = torch.cat(parts)
        elif not re.search(r"\.attn\.(to_[kv]|add_[kv]_proj)\.", name):
            if re.match(rf"norm_out\.linear|transformer_blocks\.{last}\.norm1_context\.linear", name):
                value = torch.cat(value.chunk(2)[::-1])
            weights[renamed(short, SD3)] = value
    return weights


def flux(network: nn.Module) -> Weights:
    """As `transformer`; blocks of the second kind have the perceptron's first layer in the same matrix."""
    state = network.state_dict()
    weights = {}
    for name, value in state.items():
        if match := re.fullmatch(r"transformer_blocks\.(\d+)\.attn\.(to_q|add_q_proj)\.(weight|bias)", name):
            side, kind = ("img", "to_{}") if match[2] == "to_q" else ("txt", "add_{}_proj")
            parts = [state[f"transformer_blocks.{match[1]}.attn.{kind.format(part)}.{match[3]}"] for part in "qkv"]
            weights[f"double_blocks.{match[1]}.{side}_attn.qkv.{match[3]}"] = torch.cat(parts)
        elif match := re.fullmatch(r"single_transformer_blocks\.(\d+)\.(.*)\.(weight|bias)", name):
            block, own = f"single_blocks.{match[1]}", f"single_transformer_blocks.{match[1]}"
            if match[2] == "attn.to_q":
                parts = [state[f"{own}.attn.to_{part}.{match[3]}"] for part in "qkv"]
                weights[f"{block}.linear1.{match[3]}"] = torch.cat([*parts, state[f"{own}.proj_mlp.{match[3]}"]])
            elif match[2] == "proj_out":
                weights[f"{block}.linear2.{match[3]}"] = value
            elif match[2].startswith("attn.norm_"):
                weights[f"{block}.norm.{'query' if match[2].endswith('q') else 'key'}_norm.scale"] = value
            elif match[2] == "norm.linear":
                weights[f"{block}.modulation.lin.{match[3]}"] = value
        elif name.startswith("norm_out.linear"):
            weights[name.replace("norm_out.linear", "final_layer.adaLN_modulation.1")] = torch.cat(value.chunk(2)[::-1])
        elif name.startswith("proj_out"):
            weights[name.replace("proj_out", "final_layer.linear")] = value
        elif not re.search(r"\.attn\.(to_[kv]|add_[kv]_proj)\.", name):
            weights[renamed(name, FLUX)] = value
    return weights
