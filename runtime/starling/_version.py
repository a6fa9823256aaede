"""The version, in the one place that the build, the log and the user read it from."""

__version__ = "0.1.0"

RECORDED_AS = f"pytest-starling/{__version__}"
"""What RunStarted.starling_version says; its prefix tells our logs from those of the original program."""
