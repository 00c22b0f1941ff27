// Telemetry: see the layer table in CONTRIBUTING.md.
