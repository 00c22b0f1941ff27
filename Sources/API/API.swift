// API: see the layer table in CONTRIBUTING.md.
