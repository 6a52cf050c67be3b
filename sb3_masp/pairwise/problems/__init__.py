"""Problems of credit across time; importing this adds their ids to Gymnasium's registry.

``Credit/DAG-v0``, ``Credit/UmbrellaChain-v0`` and ``Credit/KeyToDoor-v0`` are those of arXiv
2102.04999, ``Credit/Bsuite-v0`` any of bsuite's. The modules `dag`, `umbrella` and `key_to_door`
hold the best returns and handcrafted weights of theirs, too.
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
