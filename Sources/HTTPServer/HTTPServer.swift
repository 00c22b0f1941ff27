// HTTPServer: see the layer table in CONTRIBUTING.md.
