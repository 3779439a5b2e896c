"""What alpaca-eval's own code makes of annotations: its win rates and its length-controlled win rates, as JSON.

usage: python alpaca_win_rates.py ANNOTATIONS
"""

import json
import sys

import pandas as pd
from alpaca_eval.metrics import get_length_controlled_winrate  # pyright: ignore[reportMissingImports]

found = {}
for regression in ("length_controlled_minimal", "length_controlled_noreg"):
    annotations = pd.read_json(sys.argv[1])
    found[regression] = get_length_controlled_winrate(
        annotations, glm_name=regression, save_weights_dir=None
    )
sys.stdout.write(json.dumps(found, default=float))
