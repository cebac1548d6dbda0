"""How long do `import convai_lab` and `%load_ext convai_lab` take, beside the vendor's own package?

Run by hand: `python tests/benchmarks/import_times.py`. Prints one JSON line; every time is a fresh process, the
median of `RUNS`, after one warm-up.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

RUNS = 7

PROGRAMS = {
    "import_convai_lab": "import convai_lab",
    "load_ext": "shell.run_line_magic('load_ext', 'convai_lab')",
    "import_elevenlabs_agents_client": (
        "from elevenlabs import ElevenLabs; ElevenLabs(api_key='none').conversational_ai.agents"
    ),
}
BEFORE = {
    "load_ext": "from IPython.core.interactiveshell import InteractiveShell; shell = InteractiveShell.instance()",
}


def once(name: str) -> float:
    """Return the seconds that one program takes in a fresh process, without the start of Python itself."""
    code = f"""
import time
{BEFORE.get(name, "")}
started = time.perf_counter()
{PROGRAMS[name]}
print(time.perf_counter() - started)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure the programs in turn, so that a slow moment of the machine hits all of them."""
    for name in PROGRAMS:
        once(name)
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(RUNS):
        for name in PROGRAMS:
            times[name].append(once(name))
    medians = {f"{name}_secs": round(statistics.median(values), 4) for name, values in times.items()}
    ratio = medians["import_convai_lab_secs"] / medians["import_elevenlabs_agents_client_secs"]
    print(json.dumps({"benchmark": "import_times", "runs": RUNS, **medians, "ratio_to_elevenlabs": round(ratio, 4)}))


if __name__ == "__main__":
    main()
