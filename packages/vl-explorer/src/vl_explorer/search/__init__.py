"""Image search engines behind one signature: local captions, lists of addresses, and services of the web."""
