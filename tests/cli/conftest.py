from cli_kit import starling

__all__ = ["starling"]
