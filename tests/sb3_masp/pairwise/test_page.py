"""The code on the page about pairwise weights runs."""

import re
from pathlib import Path

import torch as th

PAGE = Path(__file__).parents[3] / "docs" / "pairwise.md"


def test_the_code_on_the_page_does_what_the_page_says():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    code = "\n".join(blocks).replace("10_000", "100").replace("1_000", "100")
    scope = {}
    exec(code, scope)
    model = scope["model"]
    trajectory = model.rollout_buffer.trajectory(model._last_obs)
    matrix = model.weights.matrix(trajectory)[0]
    assert len(blocks) == 2
    assert (matrix.diagonal() == 1).all()
    assert th.equal(matrix.triu(5), th.zeros(20, 20))
    assert matrix[0, 4] == 1
