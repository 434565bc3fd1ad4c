"""A web page to try the classifier: drop an image, edit the class names, and watch the search.

Requires the extra `demo`, which installs Gradio. Neither the page nor its server makes requests to other machines:
scripts come with Gradio, fonts from the system, and telemetry and public links are disabled.
"""

from vl_diffusion.demo.page import build_page, launch_page

__all__ = ["build_page", "launch_page"]
