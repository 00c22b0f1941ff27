"""The parts of Scripts/bad-night."""
