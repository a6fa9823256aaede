"""The version, in the one place that the build, the log and the user read it from."""

__version__ = "0.1.0"

PRODUCT = "pytest-starling/"
RECORDED_AS = f"{PRODUCT}{__version__}"
"""What RunStarted.starling_version says. Who wrote a log is told by more than that, see `agent._authorship`."""
