"""pytest hooks of pytest-starling."""
