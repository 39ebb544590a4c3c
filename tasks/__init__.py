"""The measurements: one task per file."""
