"""Dual encoders: towers of timm, transformers and open_clip, tokenizers, and how they are saved."""
