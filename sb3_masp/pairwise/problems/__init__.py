"""Problems of credit assignment across time; importing this registers their ids with Gymnasium.

``Credit/DAG-v0``, ``Credit/UmbrellaChain-v0`` and ``Credit/KeyToDoor-v0`` are those of arXiv
2102.04999, ``Credit/Bsuite-v0`` is any of bsuite's. The modules `dag`, `umbrella` and `key_to_door`
also provide handcrafted weights, and the first two the best returns.
"""

from sb3_masp.pairwise.problems import dag, key_to_door, umbrella
from sb3_masp.pairwise.problems.bsuite import BsuiteEnv
from sb3_masp.pairwise.problems.dag import DAG
from sb3_masp.pairwise.problems.key_to_door import KeyToDoor
from sb3_masp.pairwise.problems.registration import register_envs
from sb3_masp.pairwise.problems.umbrella import UmbrellaChain

__all__ = [
    "DAG",
    "BsuiteEnv",
    "KeyToDoor",
    "UmbrellaChain",
    "dag",
    "key_to_door",
    "register_envs",
    "umbrella",
]

register_envs()
