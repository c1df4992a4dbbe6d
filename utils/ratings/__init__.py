"""Stage 01: ratings and movies of any layout as two checked tables, and how they are split."""
