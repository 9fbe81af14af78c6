"""What lies outside the process: engines, files, tables. Importing it chooses Arrow's allocator, before Arrow does."""

import os

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # its own pool keeps what it once took, some 70 MB
