"""Backbones: timm models with pooled features, for any number of channels."""
