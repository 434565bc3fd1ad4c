"""A page to try the classifier: drop an image, edit the class names, and watch the classes race.

It needs the extra `demo`, which brings Gradio. Neither the page nor what serves it asks another machine for anything:
scripts come with Gradio, fonts with the machine, and telemetry and public links are off.
"""

from vl_diffusion.demo.blocks import build_page, launch_page

__all__ = ["build_page", "launch_page"]
