"""The ids that ``import sb3_masp.pairwise.problems`` adds to Gymnasium's registry."""

import gymnasium as gym


def register_envs() -> None:
    """Register ``Credit/DAG-v0``, ``-UmbrellaChain-v0``, ``-KeyToDoor-v0`` and ``-Bsuite-v0``."""
    for name, entry_point in {
        "DAG": "dag:DAG",
        "UmbrellaChain": "umbrella:UmbrellaChain",
        "KeyToDoor": "key_to_door:KeyToDoor",
        "Bsuite": "bsuite:BsuiteEnv",
    }.items():
        gym.register(
            id=f"Credit/{name}-v0", entry_point=f"sb3_masp.pairwise.problems.{entry_point}"
        )
