"""Parts of Scripts/fuzz-http."""
