"""``masp sweep``: train many runs from one declaration and compare them."""

import math
import sys
from pathlib import Path

from sb3_masp.sweeps import SweepError, execute, plan, read_sweep
from sb3_masp.sweeps.execution import PLOT, SUMMARY, TABLE


def sweep(
    file: Path,
    /,
    output: Path | None = None,
    workers: int | None = None,
    ray: str | None = None,
    gpus_per_run: float = 0.0,
    dry_run: bool = False,
) -> None:
    """Run every arm on every game with every seed, and compare the arms.

    The same command resumes a sweep that was stopped or killed, and retries failed runs.

    Args:
        file: Declaration of the sweep, in TOML; see examples/sweep.toml.
        output: Folder of the sweep; by default named after the file, in runs/.
        workers: Parallel runs on this machine; by default one per core.
        ray: Address of a Ray cluster to run on instead, HOST:PORT or auto; its nodes must share
            the output folder.
        gpus_per_run: GPUs, or the share of one, that each run gets on the cluster.
        dry_run: Only list the runs and their frames.
    """
    if not 0 <= gpus_per_run < math.inf:
        raise SweepError(f"--gpus-per-run is {gpus_per_run}; it must be at least 0, and finite")
    if gpus_per_run and ray is None:
        raise SweepError("--gpus-per-run is of a cluster's GPUs; it goes with --ray")
    if not file.is_file():
        raise SweepError(f"{file} is no file; masp sweep takes a declaration, in TOML")
    declared = read_sweep(file, output or Path("runs") / file.stem)
    if dry_run:
        print(plan(declared))
        return
    try:
        execute(
            declared,
            workers=workers,
            ray=ray,
            gpus_per_run=gpus_per_run,
            declaration=file.read_bytes(),
        )
    except KeyboardInterrupt:
        print("\nStopped; run the same command again to resume.", file=sys.stderr)
        raise
    print(f"\n{declared.output}: {TABLE}, {SUMMARY}, {PLOT}")
