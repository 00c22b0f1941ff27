"""The parts of Scripts/torture: each attack that is not a Swift test is a program of its own."""
