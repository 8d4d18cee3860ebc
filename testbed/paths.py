# SPDX-License-Identifier: BSD-3-Clause
"""Where things are: the checkout, what was built, and what the testbed keeps between runs."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The build variant under test: LUNAR_BIN names another one (a sanitizer build, say).
BIN = Path(os.environ.get("LUNAR_BIN", ROOT / "build/release/bin"))
STATE = Path(os.environ.get("LUNAR_TESTBED_DIR", ROOT / "build/testbed"))
KERNEL = STATE / "kernel"
IMAGES = STATE / "images"
RUN = STATE / "run"
IMAGE_FILES = ROOT / "testbed/image"
# A host image carries the guest's kernel and image here.
GUEST_IN_HOST = Path("/boot/guest")
