"""The parts of Scripts/crash-test."""
