"""The commands of `vl-diffusion`, one module each."""
