"""The notebooks run in the tests on a data folder of their own, never on the user's."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from convai_lab import settings

if settings.HOME_VARIABLE not in os.environ:  # kernels inherit it
    _home = os.environ[settings.HOME_VARIABLE] = tempfile.mkdtemp(prefix="convai-lab-notebooks-")
    atexit.register(shutil.rmtree, _home, ignore_errors=True)
