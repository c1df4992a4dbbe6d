"""Measurements; nothing imports them. A package, because pyarrow installs another one of this name."""
