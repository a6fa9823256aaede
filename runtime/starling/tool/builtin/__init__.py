"""Two tools that are ready to use, and templates for your own.

* `fetch`: GET of a public web address (`_fetch`, and `_addresses` for what is public). Needs the extra ``fetch``.
* `read_file`: a text file below one directory.

Both do their IO as a recorded side effect, so that a replay needs neither the network nor the file.
"""

from starling.tool.builtin._fetch import fetch
from starling.tool.builtin._read_file import read_file

__all__ = ["fetch", "read_file"]
